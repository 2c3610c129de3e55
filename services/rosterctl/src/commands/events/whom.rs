//! Whom an event concerns, by name: events have ids, and people know names.

use std::collections::{HashMap, HashSet};

use identity_proto::v1::{
    BatchGetGroupsRequest, BatchGetMembersRequest, Event, MemberRef, SiteRef,
    group_service_client::GroupServiceClient, member_ref::Ref,
    member_service_client::MemberServiceClient, site_ref,
};
use prost_types::{Struct, value::Kind};

use crate::{
    commands::{LARGEST_ANSWER, named::LOOKED_UP},
    connection::{Purpose, Settings},
};

/// The names of members and groups, by their ids.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<String, String>,
    /// Looked up and not found, or not to be read with this token: they are not asked for again.
    nameless: HashSet<String>,
}

impl Names {
    /// Learns the names that these events need: from the events, and where those do not say, from identity. One
    /// that can't be learned (a deleted member's, or with a token that may only watch) is left to be an id.
    pub(super) async fn learn(&mut self, settings: &Settings, events: &[Event]) {
        let mut members: HashMap<&str, HashSet<String>> = HashMap::new();
        let mut groups: HashMap<&str, HashSet<String>> = HashMap::new();
        for event in events {
            if let Some(name) = own_name(event) {
                self.known.insert(event.subject_id.clone(), name);
            }
        }
        for event in events {
            let (wanted, id) = match event.subject_kind.as_str() {
                "member" => (&mut members, Some(event.subject_id.clone())),
                "group" => (&mut groups, Some(event.subject_id.clone())),
                "grant" => (&mut members, said(event, &["member_id"])),
                _ => continue,
            };
            if let Some(id) = id
                && !self.known.contains_key(&id)
                && !self.nameless.contains(&id)
            {
                wanted.entry(&event.site_domain).or_default().insert(id);
            }
        }
        for (domain, ids) in members {
            self.learn_members(settings, domain, ids).await;
        }
        for (domain, ids) in groups {
            self.learn_groups(settings, domain, ids).await;
        }
    }

    async fn learn_members(&mut self, settings: &Settings, domain: &str, ids: HashSet<String>) {
        let Ok(channel) = settings.channel() else {
            return;
        };
        let mut client =
            MemberServiceClient::new(channel).max_decoding_message_size(LARGEST_ANSWER);
        let ids: Vec<String> = ids.into_iter().collect();
        for some in ids.chunks(LOOKED_UP) {
            let named = |id: &String| MemberRef {
                r#ref: Some(Ref::Id(id.clone())),
            };
            let request = BatchGetMembersRequest {
                site: Some(site(domain)),
                members: some.iter().map(named).collect(),
                ..BatchGetMembersRequest::default()
            };
            let answer = settings
                .call(Purpose::Work, &request, async |request| {
                    client.batch_get_members(request).await
                })
                .await;
            let found = answer.map(|answer| answer.members).unwrap_or_default();
            self.keep(
                some,
                found.into_iter().map(|found| (found.id, found.user_name)),
            );
        }
    }

    async fn learn_groups(&mut self, settings: &Settings, domain: &str, ids: HashSet<String>) {
        let Ok(channel) = settings.channel() else {
            return;
        };
        let mut client = GroupServiceClient::new(channel);
        let ids: Vec<String> = ids.into_iter().collect();
        for some in ids.chunks(LOOKED_UP) {
            let request = BatchGetGroupsRequest {
                site: Some(site(domain)),
                group_ids: some.to_vec(),
                ..BatchGetGroupsRequest::default()
            };
            let answer = settings
                .call(Purpose::Work, &request, async |request| {
                    client.batch_get_groups(request).await
                })
                .await;
            let found = answer.map(|answer| answer.groups).unwrap_or_default();
            self.keep(
                some,
                found
                    .into_iter()
                    .map(|found| (found.id, found.display_name)),
            );
        }
    }

    fn keep(&mut self, asked: &[String], found: impl Iterator<Item = (String, String)>) {
        self.known.extend(found);
        let nameless = asked.iter().filter(|id| !self.known.contains_key(*id));
        self.nameless.extend(nameless.cloned());
    }

    /// Whom or what an event is about, and of a grant also what it gives; the id where there is no name.
    pub(super) fn whom(&self, event: &Event) -> String {
        let name = |id: &str| self.known.get(id).cloned().unwrap_or_else(|| id.to_owned());
        match event.subject_kind.as_str() {
            "grant" => match said(event, &["member_id"]) {
                Some(member) => {
                    let what = said(event, &["target", "name"]).unwrap_or_default();
                    format!("{}: {what}", name(&member))
                }
                None => event.subject_id.clone(),
            },
            "site" => event.site_domain.clone(),
            _ => name(&event.subject_id),
        }
    }
}

fn site(domain: &str) -> SiteRef {
    SiteRef {
        r#ref: Some(site_ref::Ref::Domain(domain.to_owned())),
    }
}

/// What an event itself calls its subject: by its name after the change, or else before.
fn own_name(event: &Event) -> Option<String> {
    let field = match event.subject_kind.as_str() {
        "member" => "user_name",
        "group" => "display_name",
        "credential" => "label",
        "role" | "business_entity" => "name",
        _ => return None,
    };
    said(event, &[field])
}

/// The text at a path into what is after the change, or else into what was before.
fn said(event: &Event, path: &[&str]) -> Option<String> {
    let after = event.after.as_ref().and_then(|after| text(after, path));
    after.or_else(|| event.before.as_ref().and_then(|before| text(before, path)))
}

fn text(object: &Struct, path: &[&str]) -> Option<String> {
    let (last, way) = path.split_last()?;
    let inner =
        way.iter()
            .try_fold(object, |inner, part| match &inner.fields.get(*part)?.kind {
                Some(Kind::StructValue(inner)) => Some(inner),
                _ => None,
            })?;
    match &inner.fields.get(*last)?.kind {
        Some(Kind::StringValue(text)) => Some(text.clone()),
        _ => None,
    }
}
