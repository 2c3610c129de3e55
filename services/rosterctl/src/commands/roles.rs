//! `rosterctl roles`

use clap::Subcommand;
use identity_proto::v1::{
    CreateRoleRequest, DeleteRoleRequest, Role, UpdateRoleRequest,
    role_service_client::RoleServiceClient,
};
use prost_types::FieldMask;
use serde_json::json;

use super::{
    Outcome, answer,
    named::{Asked, find_role, permissions, roles},
    print, print_write, request_id,
};
use crate::{
    arguments::DryRun,
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

/// Roles, and what can be done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Roles {
    /// List the site's roles
    #[command(after_help = "\
Examples:
  rosterctl roles list")]
    List,
    /// Show a role and its permissions
    #[command(after_help = "\
Examples:
  rosterctl roles show 'Sales Manager'")]
    Show {
        /// The role, by name or id
        role: String,
    },
    /// List all permissions, with what they allow and which built-in roles carry them
    #[command(after_help = "\
Examples:
  rosterctl roles permissions")]
    Permissions,
    /// Make a custom role
    #[command(after_help = "\
Examples:
  rosterctl roles create Auditor --permission invoices.view --permission customers.view")]
    Create {
        /// The name, unique in the site
        name: String,
        /// What it permits; may be given several times
        #[arg(long = "permission", value_name = "PERMISSION")]
        permissions: Vec<String>,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Change a custom role
    #[command(after_help = "\
Examples:
  rosterctl roles update Auditor --name Examiner
  rosterctl roles update Auditor --add-permission data.export --dry-run")]
    Update {
        /// The role, by name or id
        role: String,
        /// The new name
        #[arg(long)]
        name: Option<String>,
        /// What it is to permit from now on too; may be given several times
        #[arg(long = "add-permission", value_name = "PERMISSION")]
        add: Vec<String>,
        /// What it is not to permit any more; may be given several times
        #[arg(long = "remove-permission", value_name = "PERMISSION")]
        remove: Vec<String>,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Delete a custom role; one that still grants something is kept
    #[command(after_help = "\
Examples:
  rosterctl roles delete Auditor
  rosterctl roles delete Auditor --end-grants --dry-run")]
    Delete {
        /// The role, by name or id
        role: String,
        /// End the members' own grants of it first; a group that gives it is in the way all the same
        #[arg(long)]
        end_grants: bool,
        #[command(flatten)]
        dry_run: DryRun,
    },
}

pub(super) async fn run(settings: &Settings, command: Roles) -> Result<Outcome, Failure> {
    let mut client = RoleServiceClient::new(settings.channel()?);
    match command {
        Roles::List => {
            let list = roles(settings).await?;
            print(
                settings,
                || table(&list),
                || json!({"roles": list.iter().map(json::role).collect::<Vec<_>>()}),
            )
        }
        Roles::Show { role } => {
            let role = find_role(settings, &role).await?;
            print(
                settings,
                || facts(&role),
                || json!({"role": json::role(&role)}),
            )
        }
        Roles::Create {
            name,
            permissions,
            dry_run,
        } => {
            let asked = Asked {
                permissions: permissions.clone(),
                ..Asked::default()
            };
            let role = Role {
                name,
                permissions,
                ..Role::default()
            };
            let request = CreateRoleRequest {
                site: settings.site(),
                role: Some(role),
                validate_only: dry_run.dry_run,
                request_id: request_id(),
                ..CreateRoleRequest::default()
            };
            let made = settings
                .make(Purpose::Work, &request, async |request| {
                    client.create_role(request).await
                })
                .await;
            let made = match made {
                Ok(made) => made,
                Err(failure) => return Err(asked.suggest(settings, failure).await),
            };
            let role = made.role.unwrap_or_default();
            let object = json!({"role": json::role(&role)});
            print_write(
                settings,
                dry_run,
                made.receipt.as_ref(),
                Some(facts(&role)),
                object,
            )
            .await
        }
        Roles::Update {
            role,
            name,
            add,
            remove,
            dry_run,
        } => {
            let found = find_role(settings, &role).await?;
            let asked = Asked {
                permissions: add.clone(),
                ..Asked::default()
            };
            let mut paths = Vec::new();
            let mut values = Role::default();
            if let Some(name) = name {
                values.name = name;
                paths.push("name".to_owned());
            }
            if !add.is_empty() || !remove.is_empty() {
                values.permissions = found.permissions;
                values.permissions.extend(add);
                values
                    .permissions
                    .retain(|permission| !remove.contains(permission));
                values.permissions.sort();
                values.permissions.dedup();
                paths.push("permissions".to_owned());
            }
            if paths.is_empty() {
                return Err(Failure::usage(
                    "nothing to change: name --name, --add-permission or --remove-permission",
                ));
            }
            let request = UpdateRoleRequest {
                site: settings.site(),
                role_id: found.id,
                values: Some(values),
                update_mask: Some(FieldMask { paths }),
                // The permissions are written as a whole, made from those that were read.
                if_versions: vec![found.version],
                validate_only: dry_run.dry_run,
            };
            let request = settings.request(Purpose::Work, request)?;
            let updated = match answer(settings, client.update_role(request).await) {
                Ok(updated) => updated,
                Err(failure) => return Err(asked.suggest(settings, failure).await),
            };
            let role = updated.role.unwrap_or_default();
            let object = json!({"role": json::role(&role)});
            print_write(
                settings,
                dry_run,
                updated.receipt.as_ref(),
                Some(facts(&role)),
                object,
            )
            .await
        }
        Roles::Permissions => {
            let list = permissions(settings).await?;
            print(
                settings,
                || {
                    let mut table = show::table(["Permission", "Allows", "Built-in roles"]);
                    for permission in &list {
                        let roles = permission.built_in_roles.join(", ");
                        table.add_row([&permission.name, &permission.description, &roles]);
                    }
                    table.to_string()
                },
                || json!({"permissions": list.iter().map(json::permission).collect::<Vec<_>>()}),
            )
        }
        Roles::Delete {
            role,
            end_grants,
            dry_run,
        } => {
            let found = find_role(settings, &role).await?;
            let request = DeleteRoleRequest {
                site: settings.site(),
                role_id: found.id.clone(),
                end_grants,
                validate_only: dry_run.dry_run,
                ..DeleteRoleRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let deleted = answer(settings, client.delete_role(request).await)?;
            let object = json!({"role": json::role(&found)});
            print_write(settings, dry_run, deleted.receipt.as_ref(), None, object).await
        }
    }
}

fn kind(role: &Role) -> &'static str {
    if role.built_in { "built in" } else { "custom" }
}

fn facts(role: &Role) -> String {
    let facts = show::facts([
        ("Name", role.name.clone()),
        ("Id", role.id.clone()),
        ("Kind", kind(role).to_owned()),
    ]);
    let permissions: Vec<String> = role
        .permissions
        .iter()
        .map(|permission| format!("\n  {permission}"))
        .collect();
    match permissions.is_empty() {
        true => format!("{facts}\nPermissions: none"),
        false => format!("{facts}\nPermissions:{}", permissions.concat()),
    }
}

fn table(roles: &[Role]) -> String {
    let mut table = show::table(["Name", "Kind", "Permissions", "Id"]);
    for role in roles {
        let permissions = role.permissions.len().to_string();
        table.add_row([role.name.as_str(), kind(role), &permissions, &role.id]);
    }
    table.to_string()
}
