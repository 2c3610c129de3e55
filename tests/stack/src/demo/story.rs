//! The story that the demonstration plays: an Okta administrator connects an app, and people come,
//! move, change and leave.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use identity_proto::v1::{CreateRoleRequest, ListRolesRequest, Role};

use super::{
    company::{Company, Group, Person, by_group, target},
    progress::Step,
};
use crate::{
    dev_env::DevEnv,
    grpc::{Caller, accept, refused, site},
    okta::{AppKind, Okta, PushedGroup},
    site::make_business_entity,
};

/// The server's ids by user name.
type Ids = BTreeMap<String, String>;

/// Plays the whole story.
pub(super) async fn play(facts: &DevEnv, company: &Company, app: AppKind) -> Result<()> {
    let okta = Okta::new(&facts.scim_url, &facts.scim_token)?.as_app(app);
    let caller = Caller::new(&facts.grpc_addr, &facts.service_token)?;
    let domain = &facts.site_domain;

    let step = Step::begin("Test API credentials", 1);
    okta.test_credentials().await?;
    step.done();

    let step = Step::begin("Roles, business entities", company.groups.len());
    make_targets(&caller, domain, company).await?;
    step.done();

    let step = Step::begin("Assign people", company.people.len());
    let ids: Ids = step
        .each(&company.people, async |person| {
            Ok((
                person.user_name.clone(),
                okta.assign(&person.profile()).await?,
            ))
        })
        .await?
        .into_iter()
        .collect();

    let step = Step::begin("Push groups", company.groups.len());
    let first = by_group(&company.people, |person| person.groups().collect());
    let pushed = step
        .each(&company.groups, async |group| {
            let mut pushed = find_or_create(&okta, domain, group).await?;
            let members = members(first.get(group.name.as_str()), &ids)?;
            okta.push_now(&mut pushed, members).await?;
            Ok((group, pushed))
        })
        .await?;

    let renamed = company
        .groups
        .iter()
        .filter(|group| group.name != group.final_name)
        .count();
    let step = Step::begin("Rename a group", renamed);
    let mut groups = Vec::new();
    for (group, mut pushed) in pushed {
        if group.name != group.final_name {
            let name = group_name(domain, &group.final_name);
            okta.rename_group(&mut pushed, &name).await?;
        }
        groups.push((group, pushed));
    }
    step.done();

    let last = by_group(&company.people, |person| person.final_groups().collect());
    let step = Step::begin("Move people", groups.len());
    step.each(groups, async |(group, mut pushed)| {
        let members = members(last.get(group.final_name.as_str()), &ids)?;
        okta.push_changes(&mut pushed, members).await
    })
    .await?;

    let people: Vec<_> = company
        .people
        .iter()
        .filter(|person| person.changes_profile())
        .collect();
    let step = Step::begin("Change profiles", people.len());
    step.each(people, async |person| {
        okta.update_profile(id_of(person, &ids)?, &person.final_profile())
            .await
    })
    .await?;

    let people: Vec<_> = company
        .people
        .iter()
        .filter(|person| person.leaves())
        .collect();
    let step = Step::begin("Deactivate", people.len());
    step.each(people, async |person| {
        okta.deactivate(id_of(person, &ids)?, &person.final_profile())
            .await
    })
    .await?;

    let people: Vec<_> = company
        .people
        .iter()
        .filter(|person| person.returns())
        .collect();
    let step = Step::begin("Reactivate", people.len());
    step.each(people, async |person| {
        okta.reactivate(id_of(person, &ids)?, &person.final_profile())
            .await
    })
    .await?;
    Ok(())
}

/// A group's name by the convention.
fn group_name(domain: &str, name: &str) -> String {
    format!("CB/{domain}/{name}")
}

fn id_of<'a>(person: &Person, ids: &'a Ids) -> Result<&'a str> {
    let id = ids.get(&person.user_name);
    Ok(id.with_context(|| format!("{} was not assigned", person.user_name))?)
}

/// The members of a group as Okta sends them.
fn members(people: Option<&Vec<&Person>>, ids: &Ids) -> Result<BTreeMap<String, String>> {
    people
        .into_iter()
        .flatten()
        .map(|person| Ok((id_of(person, ids)?.to_owned(), person.user_name.clone())))
        .collect()
}

/// Finds the group, also under the name that an earlier demonstration left it with, or creates it.
async fn find_or_create(okta: &Okta, domain: &str, group: &Group) -> Result<PushedGroup> {
    let name = group_name(domain, &group.name);
    for known in [&group.name, &group.final_name] {
        if let Some(found) = okta.find_group(&group_name(domain, known)).await? {
            let id = found["id"].as_str().context("a group without an id")?;
            return okta.link_group(id, &name).await;
        }
    }
    okta.create_group(&name).await
}

/// Makes the custom roles and business entities that the groups name.
async fn make_targets(caller: &Caller, domain: &str, company: &Company) -> Result<()> {
    let request = caller.request(ListRolesRequest {
        site: site(domain),
        ..Default::default()
    });
    let roles = caller
        .roles()
        .list_roles(request)
        .await
        .map_err(|status| refused(&status))?;
    let roles = roles.into_inner().roles;
    for group in &company.groups {
        let name = target(&group.final_name);
        if !group.is_role() {
            make_business_entity(caller, domain, name).await?;
        } else if !group.custom_like.is_empty() {
            let like = roles.iter().find(|role| role.name == group.custom_like);
            let like = like.with_context(|| format!("no role {}", group.custom_like))?;
            let role = Role {
                name: name.to_owned(),
                permissions: like.permissions.clone(),
                ..Role::default()
            };
            let create = CreateRoleRequest {
                site: site(domain),
                role: Some(role),
                validate_only: false,
                ..Default::default()
            };
            let outcome = caller.roles().create_role(caller.request(create)).await;
            accept(outcome, "ROLE_NAME_TAKEN")?;
        }
    }
    Ok(())
}
