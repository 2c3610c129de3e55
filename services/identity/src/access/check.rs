//! Questions about access, and their answers with the reasons.

use super::{
    Extent, Grant, TargetId,
    facts::{Facts, Holder, Named, Reach, Wanted},
    moment::{AsOf, Moment},
    store,
};
use crate::{
    context::RequestContext,
    error::Error,
    ids::{BusinessEntityId, MemberId},
    members::MemberName,
    site_tx::Identity,
};

/// What a question asks about.
#[derive(Clone, Debug)]
pub(crate) enum Ability {
    Permission(String),
    Role(Named),
}

/// May this member do this, there?
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) member: MemberName,
    pub(crate) ability: Ability,
    /// None: a permission anywhere, a role however far it reaches.
    pub(crate) entity: Option<Named>,
}

/// Questions, all for one moment.
#[derive(Clone, Debug)]
pub(crate) struct Questions {
    pub(crate) list: Vec<Question>,
    pub(crate) as_of: AsOf,
}

/// Why a question is answered with no.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Denial {
    MemberUnknown,
    MemberInactive,
    RoleUnknown,
    EntityUnknown,
    RoleNotHeld,
    PermissionNotHeld,
    NotReached,
}

/// Why a member's roles reach where they were asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ReachReason {
    Undivided,
    Chief,
    Granted,
    Unassigned,
}

/// The answer to a question. Allowed where nothing is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) missing: Vec<Denial>,
    pub(crate) member: Option<MemberId>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) reach: Option<(ReachReason, Vec<Grant>)>,
}

impl Questions {
    /// What to read to answer them.
    pub(super) fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        let mut permissions = Vec::new();
        for question in &self.list {
            wanted.members.push(question.member.clone());
            match &question.ability {
                Ability::Permission(permission) => permissions.push(permission.clone()),
                Ability::Role(role) => wanted.roles.push(role.clone()),
            }
            wanted.entities.extend(question.entity.clone());
        }
        permissions.sort();
        permissions.dedup();
        wanted.permissions = Some(permissions);
        wanted
    }

    /// The field by which a permission was asked about.
    fn field(&self, permission: &str) -> String {
        let place = self.list.iter().position(
            |question| matches!(&question.ability, Ability::Permission(asked) if asked == permission),
        );
        match place {
            Some(place) if self.list.len() > 1 => format!("questions[{place}].permission"),
            _ => "question.permission".to_owned(),
        }
    }
}

/// Answers questions, in their order, and tells the moment that the answers hold for.
pub(crate) async fn answer(
    identity: &Identity,
    context: RequestContext,
    input: Result<Questions, Error>,
) -> Result<(Vec<Answer>, Moment), Error> {
    let as_of = AsOf::of(&input, |questions| questions.as_of);
    identity
        .read_as_of(context, as_of, input, |tx, questions| {
            let moment = questions.as_of.resolve(tx)?;
            let facts = store::facts(tx, moment, &questions.wanted())?;
            facts.check_permissions(|permission| questions.field(permission))?;
            let answers = questions
                .list
                .iter()
                .zip(&facts.holders)
                .map(|(question, holder)| facts.answer(question, holder.as_ref()))
                .collect();
            Ok((answers, moment))
        })
        .await
}

impl Facts {
    /// The answer to one question.
    pub(super) fn answer(&self, question: &Question, holder: Option<&Holder>) -> Answer {
        let mut answer = Answer::default();
        let entity = match &question.entity {
            None => None,
            Some(name) => match self.entity(name) {
                Some(entity) => Some(entity.id),
                None => {
                    answer.missing.push(Denial::EntityUnknown);
                    None
                }
            },
        };
        let roles = match &question.ability {
            Ability::Permission(permission) => {
                self.carrying(permission).map(|role| role.id).collect()
            }
            Ability::Role(name) => {
                let role = self.role(name);
                if role.is_none() {
                    answer.missing.push(Denial::RoleUnknown);
                }
                role.map(|role| role.id).into_iter().collect::<Vec<_>>()
            }
        };
        let Some(holder) = holder else {
            answer.missing.insert(0, Denial::MemberUnknown);
            return answer;
        };
        answer.member = Some(holder.id);
        if !holder.active {
            answer.missing.insert(0, Denial::MemberInactive);
        }
        let grants = holder.role_grants(|id| roles.contains(&id));
        if grants.is_empty() {
            match question.ability {
                Ability::Permission(_) => answer.missing.push(Denial::PermissionNotHeld),
                Ability::Role(_) if roles.is_empty() => {}
                Ability::Role(_) => answer.missing.push(Denial::RoleNotHeld),
            }
        }
        if question.asks_reach() && !answer.missing.contains(&Denial::EntityUnknown) {
            let reach = self.reach(holder);
            if reach.gets_to(entity) {
                answer.reach = reach.reason(entity);
            } else {
                answer.missing.push(Denial::NotReached);
            }
        }
        if answer.missing.is_empty() {
            answer.grants = grants.into_iter().cloned().collect();
        } else {
            answer.reach = None;
        }
        answer
    }
}

impl Question {
    /// A role without a business entity is held or not, however far it reaches.
    fn asks_reach(&self) -> bool {
        self.entity.is_some() || matches!(self.ability, Ability::Permission(_))
    }
}

impl Reach<'_> {
    /// Why it gets to this business entity (or to anything), with the grants behind that.
    pub(super) fn reason(
        &self,
        entity: Option<BusinessEntityId>,
    ) -> Option<(ReachReason, Vec<Grant>)> {
        let all = || self.grants.iter().map(|grant| (*grant).clone());
        match self.extent {
            Extent::Undivided => Some((ReachReason::Undivided, Vec::new())),
            Extent::Chief => Some((ReachReason::Chief, all().collect())),
            Extent::Unassigned => Some((ReachReason::Unassigned, Vec::new())),
            Extent::Listed => {
                let there = |grant: &Grant| {
                    entity.is_none_or(|id| grant.target.id == TargetId::BusinessEntity(id))
                };
                let grants: Vec<Grant> = all().filter(there).collect();
                (!grants.is_empty()).then_some((ReachReason::Granted, grants))
            }
            Extent::Nothing => None,
        }
    }
}
