"""Runs the published suite scim2-tester against a Roster, and `scim test` of scim2-cli, which runs it again.

Reads ROSTER_SCIM_URL, ROSTER_SCIM_TOKEN and ROSTER_SITE_DOMAIN, as `make run` writes them. The site must have
hundreds of business entities without a group, and few members: the suite takes a group's name from among them, and
looks for what it made on the first page.

Prints a line for each result; succeeds where each of them is SUCCESS and no check was left out. `tests/README.md`
tells what the suite is told beside what it discovers, and why.
"""

import os
import random
import sys
import uuid
from functools import partial

from click.testing import CliRunner
from httpx2 import Client
from scim2_cli import test as command
from scim2_cli.session import Session
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import Mutability, ResourceType, Schema
from scim2_tester import CheckResult, Status, check_server, checkers
from scim2_tester.utils import CheckConfig, CheckContext

# How many addresses there are to choose a user name from.
USER_NAMES = 1000


def is_read_only(schema):
    """Whether a client can write nothing of what a schema describes."""
    return all(attribute.mutability == Mutability.read_only for attribute in schema.attributes)


class Site:
    """What the suite has to know of a site beside its schemas."""

    def __init__(self, scim, domain):
        self.domain = domain
        self.schemas = {schema.id: schema for schema in scim.query(Schema).resources}
        self.types = scim.query(ResourceType).resources
        scim.discover()
        self.roles = self.everything(scim, "Role")
        self.entities = self.everything(scim, "BusinessEntity")

    def everything(self, scim, name):
        """All resources of a type, page by page."""
        found = []
        while True:
            page = scim.query(name, query_parameters={"startIndex": len(found) + 1})
            found += page.resources or []
            if len(found) >= page.total_results:
                return found

    def written(self):
        """The resource types of which a client can write something."""
        return [kind for kind in self.types if not is_read_only(self.schemas[kind.schema_])]

    def read(self):
        """The resource types that a client can only read."""
        return [kind for kind in self.types if is_read_only(self.schemas[kind.schema_])]

    def suit(self, scim):
        """Gives the suite values that this site takes, as examples of the attributes (pydantic's own, where the
        suite looks first), and tells it which extensions are read-only, as it sees that of attributes only."""
        names = [f"CB/{self.domain}/BE/{entity.display_name}" for entity in self.entities]
        addresses = [f"{uuid.UUID(int=random.getrandbits(128))}@tester.example" for _ in range(USER_NAMES)]
        for kind in self.written():
            for model in scim.provider.model_for(kind).__mro__:
                fields = getattr(model, "model_fields", {})
                if kind.name == "User":
                    give(fields, "user_name", addresses)
                    give(fields, "roles", self.entries(model, "roles", self.roles))
                    give(fields, "entitlements", self.entries(model, "entitlements", self.entities))
                if kind.name == "Group":
                    give(fields, "display_name", names)
                for extension in kind.schema_extensions or []:
                    schema = self.schemas[extension.schema_]
                    if is_read_only(schema) and schema.name in fields:
                        fields[schema.name].metadata.append(Mutability.read_only)

    def entries(self, model, name, resources):
        """The entries that a list of references can have, whole, as they are shown."""
        if name not in getattr(model, "model_fields", {}):
            return []
        entry = model.get_field_root_type(name)
        give(entry.model_fields, "value", [resource.id for resource in resources])
        shown = {"type": resources[0].meta.resource_type, "primary": True}
        shown = {part: value for part, value in shown.items() if part in entry.model_fields}
        return Copied(entry(value=it.id, display=it.display_name, **shown) for it in resources)


class Copied(list):
    """A list that gives copies: the suite writes into the examples that it takes."""

    def __getitem__(self, index):
        return super().__getitem__(index).model_copy()


def give(fields, name, examples):
    """Makes these the examples of a field, if there is one."""
    if name in fields:
        fields[name].examples = examples


def run_suite(client, domain):
    """The suite by itself, which discovers the server."""
    scim = SyncSCIMClient(client)
    site = Site(scim, domain)
    site.suit(scim)
    results = check_server(scim, resource_types=[kind.name for kind in site.written()])
    # The one check that the suite has and check_server does not run.
    results += checkers.core_schemas_validation(CheckContext(scim, CheckConfig()))
    results += left_out(results)
    for kind in site.read():
        results += [look(scim, kind, resource) for resource in site.everything(scim, kind)[:20]]
    return results


def left_out(results):
    """An error for each check of the suite that has no result."""
    known = [name for name in checkers.__all__ if hasattr(getattr(checkers, name), "tags")]
    run = {result.title for result in results}
    return [CheckResult(Status.ERROR, name, reason="was not run") for name in known if name not in run]


def look(scim, kind, resource):
    """Reads a resource that is in a list by itself. The suite makes whatever it looks at, which is not possible
    where nothing can be made; the client that it uses is as strict with what it reads."""
    again = scim.query(kind, resource.id)
    same = again.model_dump() == resource.model_dump()
    status = Status.SUCCESS if same else Status.ERROR
    return CheckResult(status, "read_only_resource", reason=f"{kind.endpoint}/{resource.id}", resource_type=kind.name)


def run_command(url, headers, client, domain):
    """`scim test`, in this process because only here it can be told what the suite is told."""
    site = Site(SyncSCIMClient(client), domain)
    session = Session(
        url=url, headers=headers, verify=True, schemas=None, resource_types=None, service_provider_config=None
    )
    site.suit(session.client)
    # The command has no option for what is an argument of the suite.
    command.check_server = partial(check_server, resource_types=[kind.name for kind in site.written()])
    outcome = CliRunner().invoke(command.test_cli, obj=session)
    status = Status.ERROR if outcome.exit_code else Status.SUCCESS
    reason = outcome.output if outcome.exit_code else f"{outcome.output.count('SUCCESS ')} times SUCCESS"
    return CheckResult(status, "scim test", reason=reason)


def main():
    url, token, domain = (
        os.environ[f"ROSTER_{name}"] for name in ("SCIM_URL", "SCIM_TOKEN", "SITE_DOMAIN")
    )
    # The same choices in each run.
    random.seed(domain)
    headers = {"Authorization": f"Bearer {token}"}
    client = Client(base_url=url, headers=headers, timeout=30)
    results = run_suite(client, domain)
    results.append(run_command(url, headers, client, domain))
    for result in results:
        print(result.status.name, result.resource_type or "-", result.title, result.reason or "")
    return 0 if all(result.status == Status.SUCCESS for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
