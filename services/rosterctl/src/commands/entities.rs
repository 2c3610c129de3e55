//! `rosterctl entities`

use clap::Subcommand;
use identity_proto::v1::{
    BusinessEntity, CreateBusinessEntityRequest, DeleteBusinessEntityRequest,
    UpdateBusinessEntityRequest, business_entity_service_client::BusinessEntityServiceClient,
};
use prost_types::FieldMask;
use serde_json::json;

use super::{
    Outcome, answer,
    named::{entities, find_entity},
    print, print_write, request_id,
};
use crate::{
    arguments::DryRun,
    connection::{Purpose, Settings},
    failure::Failure,
    json, show,
};

/// Business entities, and what can be done with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Entities {
    /// List the site's business entities
    #[command(after_help = "\
Examples:
  rosterctl entities list")]
    List,
    /// Show a business entity
    #[command(after_help = "\
Examples:
  rosterctl entities show 'EU GmbH'")]
    Show {
        /// The business entity, by name or id
        entity: String,
    },
    /// Make a business entity; it divides nothing (see sites divide)
    #[command(after_help = "\
Examples:
  rosterctl entities create 'EU GmbH' --handle eu")]
    Create {
        /// The name, unique in the site
        name: String,
        /// A stable name for machines: a-z, 0-9 and hyphens [default: made from the name]
        #[arg(long)]
        handle: Option<String>,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Rename a business entity; groups stay bound to it
    #[command(after_help = "\
Examples:
  rosterctl entities rename 'EU GmbH' 'Europe GmbH'")]
    Rename {
        /// The business entity, by name or id
        entity: String,
        /// The new name
        name: String,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Delete a business entity; one that still grants something is kept
    #[command(after_help = "\
Examples:
  rosterctl entities delete 'EU GmbH'
  rosterctl entities delete 'EU GmbH' --end-grants --dry-run")]
    Delete {
        /// The business entity, by name or id
        entity: String,
        /// End the members' own grants of it first; a group that gives it is in the way all the same
        #[arg(long)]
        end_grants: bool,
        #[command(flatten)]
        dry_run: DryRun,
    },
}

pub(super) async fn run(settings: &Settings, command: Entities) -> Result<Outcome, Failure> {
    let mut client = BusinessEntityServiceClient::new(settings.channel()?);
    match command {
        Entities::List => {
            let list = entities(settings).await?;
            print(
                settings,
                || table(&list),
                || {
                    let list: Vec<_> = list.iter().map(json::business_entity).collect();
                    json!({"business_entities": list})
                },
            )
        }
        Entities::Show { entity } => {
            let entity = find_entity(settings, &entity).await?;
            print(settings, || facts(&entity), || object(&entity))
        }
        Entities::Create {
            name,
            handle,
            dry_run,
        } => {
            let entity = BusinessEntity {
                name,
                handle: handle.unwrap_or_default(),
                ..BusinessEntity::default()
            };
            let request = CreateBusinessEntityRequest {
                site: settings.site(),
                business_entity: Some(entity),
                validate_only: dry_run.dry_run,
                request_id: request_id(),
                ..CreateBusinessEntityRequest::default()
            };
            let made = settings
                .make(Purpose::Work, &request, async |request| {
                    client.create_business_entity(request).await
                })
                .await?;
            let entity = made.business_entity.unwrap_or_default();
            print_write(
                settings,
                dry_run,
                made.receipt.as_ref(),
                Some(facts(&entity)),
                object(&entity),
            )
            .await
        }
        Entities::Rename {
            entity,
            name,
            dry_run,
        } => {
            let found = find_entity(settings, &entity).await?;
            let request = UpdateBusinessEntityRequest {
                site: settings.site(),
                business_entity_id: found.id,
                values: Some(BusinessEntity {
                    name,
                    ..BusinessEntity::default()
                }),
                update_mask: Some(FieldMask {
                    paths: vec!["name".to_owned()],
                }),
                validate_only: dry_run.dry_run,
                ..UpdateBusinessEntityRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let renamed = answer(settings, client.update_business_entity(request).await)?;
            let entity = renamed.business_entity.unwrap_or_default();
            print_write(
                settings,
                dry_run,
                renamed.receipt.as_ref(),
                Some(facts(&entity)),
                object(&entity),
            )
            .await
        }
        Entities::Delete {
            entity,
            end_grants,
            dry_run,
        } => {
            let found = find_entity(settings, &entity).await?;
            let request = DeleteBusinessEntityRequest {
                site: settings.site(),
                business_entity_id: found.id.clone(),
                end_grants,
                validate_only: dry_run.dry_run,
                ..DeleteBusinessEntityRequest::default()
            };
            let request = settings.request(Purpose::Work, request)?;
            let deleted = answer(settings, client.delete_business_entity(request).await)?;
            print_write(
                settings,
                dry_run,
                deleted.receipt.as_ref(),
                None,
                object(&found),
            )
            .await
        }
    }
}

fn object(entity: &BusinessEntity) -> serde_json::Value {
    json!({"business_entity": json::business_entity(entity)})
}

fn facts(entity: &BusinessEntity) -> String {
    show::facts([
        ("Name", entity.name.clone()),
        ("Handle", entity.handle.clone()),
        ("Id", entity.id.clone()),
    ])
}

fn table(entities: &[BusinessEntity]) -> String {
    let mut table = show::table(["Name", "Handle", "Id"]);
    for entity in entities {
        table.add_row([&entity.name, &entity.handle, &entity.id]);
    }
    table.to_string()
}
