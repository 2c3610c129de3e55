"""A small service in Python that asks identity who may do what, with stubs made from the .proto files.

Takes ROSTER_GRPC_ADDR, ROSTER_TOKEN, ROSTER_PROTO (the folder that holds identity/v1) and
ROSTER_STUBS (a folder for the stubs). Expects ada@acme.example to be a Sales Manager in EU GmbH.
"""

import os
import sys
import time
import uuid
from pathlib import Path

import grpc
from grpc_status import rpc_status
from grpc_tools import protoc
from google.rpc import error_details_pb2


def generate(contract: str, stubs: str) -> None:
    """What `python -m grpc_tools.protoc` does."""
    files = sorted(str(path.relative_to(contract)) for path in Path(contract).glob("identity/v1/*.proto"))
    well_known = str(Path(protoc.__file__).parent / "_proto")
    code = protoc.main(
        ["protoc", f"-I{contract}", f"-I{well_known}", f"--python_out={stubs}", f"--grpc_python_out={stubs}", *files]
    )
    assert code == 0, f"protoc ended with {code}"


generate(os.environ["ROSTER_PROTO"], os.environ["ROSTER_STUBS"])
sys.path.insert(0, os.environ["ROSTER_STUBS"])

from identity.v1 import access_service_pb2 as access  # noqa: E402
from identity.v1 import access_service_pb2_grpc as access_grpc  # noqa: E402
from identity.v1 import event_service_pb2 as event_service  # noqa: E402
from identity.v1 import event_service_pb2_grpc as events_grpc  # noqa: E402
from identity.v1 import grant_service_pb2 as grants  # noqa: E402
from identity.v1 import grant_service_pb2_grpc as grants_grpc  # noqa: E402
from identity.v1 import group_pb2 as groups  # noqa: E402
from identity.v1 import group_service_pb2 as group_service  # noqa: E402
from identity.v1 import group_service_pb2_grpc as group_service_grpc  # noqa: E402
from identity.v1 import reference_pb2 as reference  # noqa: E402

channel = grpc.insecure_channel(os.environ["ROSTER_GRPC_ADDR"])
metadata = [("authorization", f"Bearer {os.environ['ROSTER_TOKEN']}")]
ada = reference.MemberRef(user_name="ada@acme.example")


def question(permission: str, business_entity: str) -> access.AccessQuestion:
    return access.AccessQuestion(
        member=ada, permission=permission, business_entity=reference.NamedRef(name=business_entity)
    )


def call(method, request):
    return method(request, metadata=metadata, timeout=10)


asking = access_grpc.AccessServiceStub(channel)
yes = call(asking.CheckAccess, access.CheckAccessRequest(question=question("coupons.manage", "EU GmbH")))
assert yes.answer.allowed, yes
assert yes.answer.grants[0].target.role.name == "Sales Manager", yes

batch = call(
    asking.BatchCheckAccess,
    access.BatchCheckAccessRequest(
        questions=[question("coupons.manage", place) for place in ("EU GmbH", "US Inc", "Atlantis")]
    ),
)
assert [answer.allowed for answer in batch.answers] == [True, False, False], batch
assert batch.answers[1].denial == access.DENIAL_NOT_REACHED, batch

# A write, seen by a question about the revision that it answered with, and not by one about the one before.
made = call(
    grants_grpc.GrantServiceStub(channel).CreateGrant,
    grants.CreateGrantRequest(
        member=ada,
        target=reference.AccessTarget(business_entity=reference.NamedRef(name="US Inc")),
        reason="a test from Python",
    ),
)
for revision, allowed in ((made.receipt.revision, True), (made.receipt.revision - 1, False)):
    answer = call(
        asking.CheckAccess,
        access.CheckAccessRequest(
            question=question("coupons.manage", "US Inc"), as_of=access.AsOf(revision=revision)
        ),
    )
    assert answer.answer.allowed == allowed and answer.revision == revision, answer

listed = call(
    events_grpc.EventServiceStub(channel).ListEvents,
    event_service.ListEventsRequest(after=made.receipt.revision - 1),
)
assert [event.kind for event in listed.events] == ["grant.created"], listed
assert listed.events[0].after["reason"] == "a test from Python", listed

# A refusal carries its reason in google.rpc's details.
try:
    call(asking.CheckAccess, access.CheckAccessRequest(question=question("coupons.eat", "EU GmbH")))
    raise AssertionError("a permission that does not exist was taken")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(error).details[0].Unpack(info)
    assert (info.domain, info.reason) == ("identity.roster", "FIELD_INVALID"), info

# As docs/internal-api.md has it.
def follow(events, token, keep, resume_token=None):
    """Hands each event to `keep` with the token after it, once and in order, for as long as the credential works."""
    again = (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )
    while True:
        request = event_service.WatchEventsRequest()
        if resume_token:
            request.resume_token = resume_token
        else:
            request.after = 0
        try:
            for message in events.WatchEvents(request, metadata=[("authorization", f"Bearer {token}")]):
                if message.WhichOneof("message") == "event":
                    keep(message.event, message.resume_token)
                resume_token = message.resume_token
        except grpc.RpcError as end:
            if end.code() not in again:
                raise
        time.sleep(1)


class Enough(Exception):
    pass


# A push that names so many who are no members makes an event of more than the 4 MiB that a channel takes by itself.
strangers = [str(uuid.uuid4()) for _ in range(130_000)]
roomy = grpc.insecure_channel(
    os.environ["ROSTER_GRPC_ADDR"], options=[("grpc.max_receive_message_length", 64 << 20)]
)
large = call(
    group_service_grpc.GroupServiceStub(roomy).UpdateGroup,
    group_service.UpdateGroupRequest(
        group_id=os.environ["ROSTER_GROUP"],
        delta=groups.MembershipDelta(add_member_ids=[os.environ["ROSTER_MEMBER"], *strangers]),
    ),
)
assert len(large.receipt.unknown_member_ids) == len(strangers), large.receipt.revision
try:
    follow(events_grpc.EventServiceStub(channel), os.environ["ROSTER_TOKEN"], lambda event, token: None)
    raise AssertionError("not reached")
except grpc.RpcError as end:
    assert end.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and rpc_status.from_call(end) is None, end

# With room for it, and left in the middle again and again: each event once, in order.
numbers: list[int] = []
kept = None


def keep(event, resume_token):
    global kept
    numbers.append(event.number)
    kept = resume_token
    if len(numbers) % 3 == 0 or event.number == large.receipt.revision:
        raise Enough


while not numbers or numbers[-1] < large.receipt.revision:
    try:
        follow(events_grpc.EventServiceStub(roomy), os.environ["ROSTER_TOKEN"], keep, kept)
    except Enough:
        pass
assert numbers == list(range(1, large.receipt.revision + 1)), numbers
print("done")
