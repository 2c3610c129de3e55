//! Access, held against a naive model of it: after each of many random operations over SCIM and gRPC,
//! and for every moment of the past from the tables that access follows from.

use std::collections::{BTreeMap, BTreeSet};

use identity_proto::v1::{self as pb, update_group_request::Membership};
use identity_tests::{
    random::Random,
    rpc::{by_id, entity, role, target_name},
    scim,
    world::{Site, World},
    writes::{member, reason},
};
use serde_json::{Value, json};
use tonic::Code;

/// What a grant gives: the kind of the group-name convention, and a name.
type Target = (&'static str, &'static str);

const TARGETS: [Target; 7] = [
    ("ROLE", "Admin"),
    ("ROLE", "Analyst"),
    ("ROLE", "Sales Agent"),
    ("ROLE", "Tech Support"),
    ("BE", "EU GmbH"),
    ("BE", "US Inc"),
    ("BE", "JP KK"),
];

fn display_name((kind, name): Target) -> String {
    format!("CB/acme/{kind}/{name}")
}

fn access_target((kind, name): Target) -> Option<pb::AccessTarget> {
    if kind == "ROLE" {
        role(name)
    } else {
        entity(name)
    }
}

#[derive(Clone, Debug)]
struct ModelGroup {
    target: Target,
    members: BTreeSet<String>,
}

/// All there is to know of access, by brute force.
#[derive(Clone, Debug, Default)]
struct Model {
    /// Who is active.
    members: BTreeMap<String, bool>,
    groups: BTreeMap<String, ModelGroup>,
    /// The member and the target of each direct grant.
    grants: BTreeMap<String, (String, Target)>,
}

/// Who has what.
type Access = BTreeSet<(String, Target)>;

impl Model {
    fn sources(&self, member: &str) -> Vec<Target> {
        let groups = self.groups.values();
        let by_group = groups
            .filter(|group| group.members.contains(member))
            .map(|group| group.target);
        let direct = self.grants.values();
        by_group
            .chain(
                direct
                    .filter(|(holder, _)| holder == member)
                    .map(|(_, target)| *target),
            )
            .collect()
    }

    fn access(&self) -> Access {
        let active = self.members.iter().filter(|(_, active)| **active);
        active
            .flat_map(|(member, _)| {
                let targets = self.sources(member);
                targets.into_iter().map(|target| (member.clone(), target))
            })
            .collect()
    }

    fn reach(&self, member: &str) -> pb::Reach {
        let targets = self.sources(member);
        if !self.members[member] {
            pb::Reach::None
        } else if targets.contains(&("ROLE", "Admin")) {
            pb::Reach::All
        } else if targets.iter().any(|(kind, _)| *kind == "BE") {
            pb::Reach::Listed
        } else {
            pb::Reach::None
        }
    }

    fn ids(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }
}

/// A run: the site, the model beside it, and what the model knew at each event.
struct Run<'a> {
    site: &'a Site,
    random: Random,
    model: Model,
    made: usize,
    recorded: BTreeMap<i64, Access>,
}

/// How many members and how much access an operation moved, as it said itself.
#[derive(Debug, Eq, PartialEq)]
struct Said {
    gained: usize,
    lost: usize,
}

impl Said {
    fn over_scim(answer: &scim::Answer) -> Self {
        let number = |name: &str| {
            let header = answer.header("roster-effect");
            let part = header.split(", ").find_map(|part| part.strip_prefix(name));
            part.and_then(|part| part.strip_prefix('=')?.parse().ok())
                .unwrap_or_else(|| panic!("{header}"))
        };
        Self {
            gained: number("gained"),
            lost: number("lost"),
        }
    }

    fn over_grpc(receipt: Option<pb::Receipt>) -> Self {
        let receipt = receipt.unwrap();
        Self {
            gained: receipt.gained as usize,
            lost: receipt.lost as usize,
        }
    }
}

impl Run<'_> {
    /// One random operation, on the site and on the model.
    async fn step(&mut self) -> Option<Said> {
        let ids = self.model.ids();
        let groups: Vec<String> = self.model.groups.keys().cloned().collect();
        match self.random.below(12) {
            0 | 1 if ids.len() < 7 => Some(self.create().await),
            2 | 3 => {
                let id = self.random.one(&ids)?.clone();
                Some(self.set_active(&id).await)
            }
            4 => {
                let id = self.random.one(&ids)?.clone();
                Some(self.rename(&id).await)
            }
            5 if ids.len() > 3 => {
                let id = self.random.one(&ids)?.clone();
                Some(self.delete(&id).await)
            }
            6 => self.create_group(&ids).await,
            7 => {
                let id = self.random.one(&groups)?.clone();
                self.rename_group(&id).await
            }
            8 => {
                let id = self.random.one(&groups)?.clone();
                Some(self.change_members(&id, &ids).await)
            }
            9 => {
                let id = self.random.one(&groups)?.clone();
                Some(self.replace_members(&id, &ids).await)
            }
            10 => self.grant_or_end(&ids).await,
            11 if groups.len() > 3 => {
                let id = self.random.one(&groups)?.clone();
                let answer = self.site.scim.delete(&format!("/Groups/{id}")).await;
                self.model.groups.remove(&id);
                Some(Said::over_scim(&answer.is(204)))
            }
            _ => None,
        }
    }

    async fn create(&mut self) -> Said {
        self.made += 1;
        let user_name = format!("m{}@acme.example", self.made);
        let (id, said) = if self.random.coin() {
            let answer = self.site.scim.post("/Users", &scim::user(&user_name)).await;
            let answer = answer.is(201);
            (answer.id(), Said::over_scim(&answer))
        } else {
            let made = self.site.rpc.create_member(member(&user_name)).await;
            let made = made.unwrap();
            (made.member.unwrap().id, Said::over_grpc(made.receipt))
        };
        self.model.members.insert(id, true);
        said
    }

    async fn set_active(&mut self, id: &str) -> Said {
        let active = self.random.coin();
        self.model.members.insert(id.to_owned(), active);
        if self.random.coin() {
            let change = json!([{ "op": "replace", "value": { "active": active } }]);
            let answer = self.site.scim.patch(&format!("/Users/{id}"), change).await;
            Said::over_scim(&answer.is(200))
        } else {
            let changed = self.site.rpc.set_active(id, active).await.unwrap();
            Said::over_grpc(changed.receipt)
        }
    }

    async fn rename(&mut self, id: &str) -> Said {
        self.made += 1;
        let name = format!("renamed{}@acme.example", self.made);
        let change = json!([{ "op": "replace", "path": "userName", "value": name }]);
        let answer = self.site.scim.patch(&format!("/Users/{id}"), change).await;
        Said::over_scim(&answer.is(200))
    }

    async fn delete(&mut self, id: &str) -> Said {
        self.model.members.remove(id);
        for group in self.model.groups.values_mut() {
            group.members.remove(id);
        }
        self.model.grants.retain(|_, (holder, _)| holder != id);
        if self.random.coin() {
            let answer = self.site.scim.delete(&format!("/Users/{id}")).await;
            Said::over_scim(&answer.is(204))
        } else {
            let deleted = self.site.rpc.delete_member(id).await.unwrap();
            Said::over_grpc(deleted.receipt)
        }
    }

    fn is_taken(&self, target: Target) -> bool {
        let mut groups = self.model.groups.values();
        groups.any(|group| group.target == target)
    }

    async fn create_group(&mut self, ids: &[String]) -> Option<Said> {
        let target = *self.random.one(&TARGETS)?;
        let members = self.random.some(ids);
        let sent: Vec<&str> = members.iter().map(String::as_str).collect();
        let body = scim::group(&display_name(target), &sent);
        let answer = self.site.scim.post("/Groups", &body).await;
        if self.is_taken(target) {
            answer.error(409, "uniqueness");
            return None;
        }
        let answer = answer.is(201);
        let group = ModelGroup {
            target,
            members: members.into_iter().collect(),
        };
        self.model.groups.insert(answer.id(), group);
        Some(Said::over_scim(&answer))
    }

    async fn rename_group(&mut self, id: &str) -> Option<Said> {
        let target = *self.random.one(&TARGETS)?;
        let name = display_name(target);
        let change = json!([{ "op": "replace", "value": { "id": id, "displayName": name } }]);
        let answer = self.site.scim.patch(&format!("/Groups/{id}"), change).await;
        if self.is_taken(target) && self.model.groups[id].target != target {
            answer.error(409, "uniqueness");
            return None;
        }
        self.model.groups.get_mut(id).unwrap().target = target;
        Some(Said::over_scim(&answer.is(204)))
    }

    async fn change_members(&mut self, id: &str, ids: &[String]) -> Said {
        let (adding, removing) = (self.random.some(ids), self.random.some(ids));
        let value: Vec<Value> = adding.iter().map(|id| json!({ "value": id })).collect();
        let mut operations = vec![json!({ "op": "add", "path": "members", "value": value })];
        operations.extend(
            removing
                .iter()
                .map(|id| json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") })),
        );
        let members = &mut self.model.groups.get_mut(id).unwrap().members;
        members.extend(adding);
        for id in &removing {
            members.remove(id);
        }
        let path = format!("/Groups/{id}");
        let answer = self.site.scim.patch(&path, Value::Array(operations)).await;
        Said::over_scim(&answer.is(204))
    }

    /// Exactly these members, and in half of the cases another target with it.
    async fn replace_members(&mut self, id: &str, ids: &[String]) -> Said {
        let members = self.random.some(ids);
        let target = *self.random.one(&TARGETS).unwrap();
        let moves = self.random.coin() && !self.is_taken(target);
        let request = pb::UpdateGroupRequest {
            group_id: id.to_owned(),
            display_name: moves.then(|| display_name(target)),
            target: moves.then(|| pb::TargetByName {
                kind: if target.0 == "ROLE" {
                    pb::TargetKind::Role
                } else {
                    pb::TargetKind::BusinessEntity
                }
                .into(),
                name: target.1.to_owned(),
                site_domain: "ACME".to_owned(),
            }),
            membership: Some(Membership::Exactly(pb::ExactMembership {
                member_ids: members.clone(),
            })),
            ..Default::default()
        };
        let request = self.site.rpc.caller.request(request);
        let answer = self.site.rpc.groups().update_group(request).await;
        let answer = answer.unwrap().into_inner();
        assert_eq!(
            answer
                .group
                .unwrap()
                .member_ids
                .into_iter()
                .collect::<BTreeSet<_>>(),
            members.iter().cloned().collect()
        );
        let group = self.model.groups.get_mut(id).unwrap();
        group.members = members.into_iter().collect();
        if moves {
            group.target = target;
        }
        Said::over_grpc(answer.receipt)
    }

    async fn grant_or_end(&mut self, ids: &[String]) -> Option<Said> {
        let held: Vec<String> = self.model.grants.keys().cloned().collect();
        if self.random.below(3) == 0 {
            let id = self.random.one(&held)?;
            self.model.grants.remove(id);
            let ended = self.site.rpc.end_grant(id).await.unwrap();
            return Some(Said::over_grpc(ended.receipt));
        }
        let (holder, target) = (self.random.one(ids)?.clone(), *self.random.one(&TARGETS)?);
        let request = pb::CreateGrantRequest {
            member: by_id(&holder),
            target: access_target(target),
            reason: "chance".to_owned(),
            ..Default::default()
        };
        let request = self.site.rpc.caller.request(request);
        let outcome = self.site.rpc.grants().create_grant(request).await;
        let mut grants = self.model.grants.values();
        if grants.any(|grant| *grant == (holder.clone(), target)) {
            assert_eq!(reason(outcome, Code::AlreadyExists), "GRANT_EXISTS");
            return None;
        }
        let answer = outcome.unwrap().into_inner();
        let Some(pb::grant::Source::Direct(direct)) = answer.grant.unwrap().source else {
            panic!("not a direct grant");
        };
        self.model.grants.insert(direct.grant_id, (holder, target));
        Some(Said::over_grpc(answer.receipt))
    }

    /// Every member's access is the model's, with as many reasons.
    async fn check(&mut self) {
        let expected = self.model.access();
        let mut revision = 0;
        for (id, active) in &self.model.members {
            let access = self.site.rpc.list_member_access(by_id(id)).await.unwrap();
            revision = access.revision;
            assert_eq!(access.active, *active);
            assert_eq!(access.reach(), self.model.reach(id), "{id}");
            let found: BTreeSet<(&str, String)> =
                [("ROLE", &access.roles), ("BE", &access.business_entities)]
                    .into_iter()
                    .flat_map(|(kind, list)| {
                        list.iter()
                            .map(move |granted| (kind, target_name(granted.target.as_ref())))
                    })
                    .collect();
            let wanted = expected.iter().filter(|(member, _)| member == id);
            let wanted = wanted.map(|(_, (kind, name))| (*kind, (*name).to_owned()));
            assert_eq!(found, wanted.collect(), "{id}");
            let all = access.roles.iter().chain(&access.business_entities);
            let reasons = all.map(|granted| granted.grants.len()).sum::<usize>();
            assert_eq!(
                reasons + access.suspended.len(),
                self.model.sources(id).len(),
                "{id}"
            );
        }
        self.recorded.insert(revision, expected);
    }
}

/// Access as it was right after an event, from the tables alone.
fn access_at(world: &World, event: i64) -> Access {
    let held = |alias: &str| {
        format!(
            "{alias}.from_event <= {event} AND ({alias}.to_event IS NULL OR {alias}.to_event > {event})"
        )
    };
    let rows = world.database.texts(&format!(
        "WITH held AS (
           SELECT gm.site_id, gm.member_id, t.role_id, t.business_entity_id
           FROM group_members gm JOIN group_targets t USING (site_id, group_id)
           WHERE {} AND {}
           UNION SELECT site_id, member_id, role_id, business_entity_id FROM grants d WHERE {})
         SELECT h.member_id || ' ' || coalesce('ROLE ' || r.name, 'BE ' || b.name) AS t
         FROM held h
         JOIN member_activity a ON a.site_id = h.site_id AND a.member_id = h.member_id AND {}
         LEFT JOIN roles r ON r.site_id = h.site_id AND r.role_id = h.role_id
         LEFT JOIN business_entities b
           ON b.site_id = h.site_id AND b.business_entity_id = h.business_entity_id
         WHERE r.built_in IS DISTINCT FROM 'owner'",
        held("gm"),
        held("t"),
        held("d"),
        held("a"),
    ));
    rows.iter()
        .map(|row| {
            let (member, target) = row.split_once(' ').unwrap();
            let (kind, name) = target.split_once(' ').unwrap();
            let known = TARGETS.iter().find(|known| **known == (kind, name));
            (member.to_owned(), *known.unwrap())
        })
        .collect()
}

async fn run(world: &World, seed: u64) {
    let site = world.site("acme").await;
    site.make_entity("JP KK").await;
    let mut run = Run {
        site: &site,
        random: Random(seed),
        model: Model::default(),
        made: 0,
        recorded: BTreeMap::new(),
    };
    for _ in 0..4 {
        run.create().await;
    }
    run.check().await;
    for step in 0..150 {
        let before = run.model.access();
        if let Some(said) = run.step().await {
            let after = run.model.access();
            let moved = Said {
                gained: after.difference(&before).count(),
                lost: before.difference(&after).count(),
            };
            assert_eq!(said, moved, "seed {seed}, step {step}");
        }
        run.check().await;
    }
    let last = world.database.check_events(&site.id);
    assert!(last > 80, "seed {seed} did {last} things only");

    // The past, from the tables; and what the events say happened in between.
    let mut before: Option<(i64, &Access)> = None;
    let events = site.rpc.events().await;
    for (event, recorded) in &run.recorded {
        assert_eq!(
            &access_at(world, *event),
            recorded,
            "seed {seed}, after event {event}"
        );
        if let Some((earlier, access)) = before {
            assert_eq!(*event, earlier + 1, "one event a change");
            let said = &events[*event as usize - 1].access_changes;
            let mut replayed = access.clone();
            for change in said {
                let name = target_name(change.target.as_ref());
                let target = *TARGETS.iter().find(|(_, known)| *known == name).unwrap();
                for id in &change.lost_member_ids {
                    assert!(replayed.remove(&(id.clone(), target)), "{change:?}");
                }
                for id in &change.gained_member_ids {
                    assert!(replayed.insert((id.clone(), target)), "{change:?}");
                }
            }
            assert_eq!(&replayed, recorded, "seed {seed}, event {event}");
        }
        before = Some((*event, recorded));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn access_and_its_past_are_what_a_naive_model_says() {
    let world = World::start().await;
    run(&world, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_and_its_past_are_what_a_naive_model_says_of_another_story() {
    let world = World::start().await;
    run(&world, 20_260_823).await;
}
