//! What came of the demonstration: who holds what, asked of identity, beside what the CSV says.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use identity_proto::v1::{
    AccessTarget, GrantedTarget, ListMemberAccessRequest, ListMembersRequest, Member, MemberRef,
    Reach, access_target::Target, member_ref,
};

use super::{
    company::{Company, Person, Standing, joined},
    progress::Step,
};
use crate::{
    dev_env::DevEnv,
    grpc::{Caller, refused, site},
};

/// One person's row.
struct Row<'a> {
    person: &'a Person,
    actual: Standing,
    reach: Reach,
    differences: Vec<String>,
}

/// Asks identity about everyone, prints the table, and answers the differences, a line each.
pub(super) async fn report(facts: &DevEnv, company: &Company) -> Result<Vec<String>> {
    let caller = Caller::new(&facts.grpc_addr, &facts.service_token)?;
    let members = members(&caller, &facts.site_domain).await?;
    let step = Step::begin("Ask identity", company.people.len());
    let mut rows = step
        .each(&company.people, async |person| {
            row(&caller, &facts.site_domain, person, &members).await
        })
        .await?;
    rows.sort_by(|a, b| {
        a.person
            .user_name
            .to_lowercase()
            .cmp(&b.person.user_name.to_lowercase())
    });
    println!("\n{}\n", table(&rows));
    let differences = rows.iter().flat_map(|row| {
        row.differences
            .iter()
            .map(|difference| format!("{}: {difference}", row.person.user_name))
    });
    Ok(differences.collect())
}

async fn row<'a>(
    caller: &Caller,
    domain: &str,
    person: &'a Person,
    members: &BTreeMap<String, Member>,
) -> Result<Row<'a>> {
    let request = ListMemberAccessRequest {
        site: site(domain),
        member: Some(MemberRef {
            r#ref: Some(member_ref::Ref::UserName(person.user_name.clone())),
        }),
        ..Default::default()
    };
    let answer = caller
        .access()
        .list_member_access(caller.request(request))
        .await;
    let access = answer.map_err(|status| refused(&status))?.into_inner();
    let member = members
        .get(&access.member_id)
        .with_context(|| format!("{} is not in the list of members", person.user_name))?;
    let profile = member.profile.clone().unwrap_or_default();
    let actual = Standing {
        active: access.active,
        family_name: profile.name.unwrap_or_default().family_name,
        title: profile.title,
        roles: access.roles.iter().filter_map(name).collect(),
        business_entities: access.business_entities.iter().filter_map(name).collect(),
    };
    let differences = person.expected().differences(&actual);
    Ok(Row {
        person,
        actual,
        reach: access.reach(),
        differences,
    })
}

/// Every member of the site by id.
async fn members(caller: &Caller, domain: &str) -> Result<BTreeMap<String, Member>> {
    let mut found = BTreeMap::new();
    loop {
        let request = ListMembersRequest {
            site: site(domain),
            page_size: Some(1000),
            skip: found.len() as i64,
            ..ListMembersRequest::default()
        };
        let answer = caller.members().list_members(caller.request(request)).await;
        let page = answer
            .map_err(|status| refused(&status))?
            .into_inner()
            .members;
        if page.is_empty() {
            return Ok(found);
        }
        found.extend(page.into_iter().map(|member| (member.id.clone(), member)));
    }
}

fn name(granted: &GrantedTarget) -> Option<String> {
    let AccessTarget { target } = granted.target.as_ref()?;
    match target.as_ref()? {
        Target::Role(named) | Target::BusinessEntity(named) => Some(named.name.clone()),
    }
}

fn table(rows: &[Row<'_>]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_BORDERS_ONLY_CONDENSED);
    table.set_header([
        "Member",
        "State",
        "Roles",
        "Business entities",
        "Reach",
        "As the CSV says",
    ]);
    for Row {
        person,
        actual,
        reach,
        differences,
    } in rows
    {
        table.add_row([
            person.user_name.clone(),
            if actual.active { "active" } else { "inactive" }.to_owned(),
            joined(&actual.roles),
            joined(&actual.business_entities),
            match reach {
                Reach::All => "the whole site",
                Reach::Listed => "its entities",
                Reach::None => "nothing",
                Reach::Unspecified => "?",
            }
            .to_owned(),
            if differences.is_empty() { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    table
}
