//! An answer in words: what is behind a yes, what is missing behind a no, and what would change it.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{
    AsOf, Extent, Grant, Source, Target, TargetId,
    check::{Ability, Answer, Denial, Question, Questions, ReachReason},
    facts::{Facts, Holder},
    moment::Moment,
    store,
};
use crate::{context::RequestContext, error::Error, ids::GroupId, site_tx::Identity};

/// An answer, explained.
#[derive(Clone, Debug)]
pub(crate) struct Explanation {
    pub(crate) answer: Answer,
    pub(crate) sentences: Vec<String>,
    pub(crate) remedies: Vec<Remedy>,
    pub(crate) moment: Moment,
}

/// A role or business entity that would give what is missing, and the group that gives it today.
#[derive(Clone, Debug)]
pub(crate) struct Remedy {
    pub(crate) target: Target,
    pub(crate) group: Option<(GroupId, String)>,
    /// Whether nothing else is needed beside it.
    pub(crate) alone: bool,
}

/// Explains the answer to one question.
pub(crate) async fn explain(
    identity: &Identity,
    context: RequestContext,
    input: Result<Questions, Error>,
) -> Result<Explanation, Error> {
    let as_of = AsOf::of(&input, |questions| questions.as_of);
    identity
        .read_as_of(context, as_of, input, |tx, questions| {
            let question = questions
                .list
                .first()
                .ok_or_else(|| Error::bug("no question to explain"))?;
            let moment = questions.as_of.resolve(tx)?;
            let facts = store::facts(tx, moment, &questions.wanted())?;
            facts.check_permissions(|_| "question.permission".to_owned())?;
            let holder = facts.holders.first().and_then(Option::as_ref);
            let answer = facts.answer(question, holder);
            let told = Told {
                facts: &facts,
                question,
                holder,
            };
            let targets = told.remedies(&answer);
            let groups = store::groups_giving(tx, &targets)?;
            let remedies: Vec<Remedy> = targets
                .into_iter()
                .map(|target| Remedy {
                    group: groups.get(&target.id).cloned(),
                    alone: told.is_enough(&answer, &target),
                    target,
                })
                .collect();
            Ok(Explanation {
                sentences: told.sentences(&answer, &remedies),
                answer,
                remedies,
                moment,
            })
        })
        .await
}

/// What there is to tell about.
struct Told<'a> {
    facts: &'a Facts,
    question: &'a Question,
    holder: Option<&'a Holder>,
}

impl Told<'_> {
    /// What would give what is missing. Owner is not among it: it is handed over, not given.
    fn remedies(&self, answer: &Answer) -> Vec<Target> {
        let mut targets = Vec::new();
        // What is asked about is not there: nothing gives it.
        let unknown = [Denial::RoleUnknown, Denial::EntityUnknown];
        if unknown.iter().any(|denial| answer.missing.contains(denial)) {
            return targets;
        }
        for denial in &answer.missing {
            match denial {
                Denial::PermissionNotHeld | Denial::RoleNotHeld => {
                    let roles =
                        self.facts
                            .roles
                            .iter()
                            .filter(|role| match &self.question.ability {
                                Ability::Permission(permission) => {
                                    role.permissions.contains(permission)
                                }
                                Ability::Role(name) => self
                                    .facts
                                    .role(name)
                                    .is_some_and(|asked| asked.id == role.id),
                            });
                    targets.extend(roles.filter(|role| !role.is_owner).map(|role| Target {
                        id: TargetId::Role(role.id),
                        name: role.name.clone(),
                    }));
                }
                // Beside roles that reach it by themselves it would be of no use.
                Denial::NotReached if self.needs_entity(answer, &targets) => {
                    targets.extend(self.entity().map(|(id, name)| Target { id, name }));
                }
                _ => {}
            }
        }
        targets
    }

    /// Whether the business entity is part of what would give a yes, beside these roles.
    fn needs_entity(&self, answer: &Answer, roles: &[Target]) -> bool {
        let role_held = [Denial::PermissionNotHeld, Denial::RoleNotHeld]
            .iter()
            .all(|denial| !answer.missing.contains(denial));
        role_held
            || roles
                .iter()
                .any(|role| matches!(role.id, TargetId::Role(id) if !self.facts.reaches_all(id)))
    }

    /// Whether this turns the answer into a yes by itself.
    fn is_enough(&self, answer: &Answer, target: &Target) -> bool {
        answer
            .missing
            .iter()
            .all(|denial| match (denial, target.id) {
                (Denial::PermissionNotHeld | Denial::RoleNotHeld, TargetId::Role(_))
                | (Denial::NotReached, TargetId::BusinessEntity(_)) => true,
                // Admin reaches every business entity.
                (Denial::NotReached, TargetId::Role(id)) => self.facts.reaches_all(id),
                _ => false,
            })
    }

    fn entity(&self) -> Option<(TargetId, String)> {
        let entity = self.facts.entity(self.question.entity.as_ref()?)?;
        Some((TargetId::BusinessEntity(entity.id), entity.name.clone()))
    }

    fn sentences(&self, answer: &Answer, remedies: &[Remedy]) -> Vec<String> {
        let Some(holder) = self.holder else {
            return vec!["No: the site has no such member.".to_owned()];
        };
        let who = &holder.user_name;
        if answer.missing.is_empty() {
            return self.yes(who, answer);
        }
        let mut sentences: Vec<String> = answer
            .missing
            .iter()
            .map(|denial| self.no(*denial, holder))
            .collect();
        sentences.extend(
            remedies
                .iter()
                .map(|remedy| self.would(remedy, answer, remedies)),
        );
        sentences
    }

    /// What a remedy would do, with what else is needed beside it.
    fn would(&self, remedy: &Remedy, answer: &Answer, all: &[Remedy]) -> String {
        let what = described(&remedy.target);
        let is_role = |remedy: &Remedy| matches!(remedy.target.id, TargetId::Role(_));
        let beside = match remedy.target.id {
            TargetId::Role(id)
                if answer.missing.contains(&Denial::NotReached) && !self.facts.reaches_all(id) =>
            {
                let entity = all.iter().find(|other| !is_role(other));
                let entity = entity.map_or("a business entity".to_owned(), |entity| {
                    format!("the {}", described(&entity.target))
                });
                format!(" together with {entity}")
            }
            TargetId::BusinessEntity(_) if all.iter().any(is_role) => {
                " together with such a role".to_owned()
            }
            _ => String::new(),
        };
        let then = match answer.missing.contains(&Denial::MemberInactive) {
            true => ", once the member is reactivated",
            false => "",
        };
        let by = match &remedy.group {
            Some((_, group)) => format!("the group \"{group}\" gives that"),
            None => "no group gives that today".to_owned(),
        };
        format!("The {what} would give it{beside}{then}; {by}.")
    }

    fn yes(&self, who: &str, answer: &Answer) -> Vec<String> {
        let mut sentences = Vec::new();
        for grant in &answer.grants {
            let carries = match &self.question.ability {
                Ability::Permission(permission) => format!(", which carries {permission},"),
                Ability::Role(_) => String::new(),
            };
            sentences.push(format!(
                "Yes: {who} holds {}{carries} {}.",
                grant.target.name,
                reason(grant)
            ));
        }
        let Some((why, grants)) = &answer.reach else {
            return sentences;
        };
        sentences.push(match why {
            ReachReason::Undivided => {
                "The site is not divided into business entities: roles reach all of it.".to_owned()
            }
            ReachReason::Chief => {
                let names: Vec<&str> = grants.iter().map(|g| g.target.name.as_str()).collect();
                format!(
                    "{} reaches every business entity.",
                    unique(names).join(" and ")
                )
            }
            ReachReason::Granted => grants
                .iter()
                .map(|grant| format!("{who} was given {} {}.", grant.target.name, reason(grant)))
                .collect::<Vec<_>>()
                .join(" "),
            ReachReason::Unassigned => format!(
                "{who} has no business entity, and members without one reach all of this site."
            ),
        });
        sentences
    }

    fn no(&self, denial: Denial, holder: &Holder) -> String {
        let who = &holder.user_name;
        let held = |wanted: fn(&TargetId) -> bool| {
            let names: Vec<&str> = holder
                .grants
                .iter()
                .filter(|grant| wanted(&grant.target.id))
                .map(|grant| grant.target.name.as_str())
                .collect();
            unique(names).join(", ")
        };
        let roles = held(|id| matches!(id, TargetId::Role(_)));
        let entities = held(|id| matches!(id, TargetId::BusinessEntity(_)));
        match denial {
            Denial::MemberUnknown => "No: the site has no such member.".to_owned(),
            Denial::MemberInactive => {
                format!("No: {who} is deactivated and has no access until reactivated.")
            }
            Denial::RoleUnknown => "No: the site has no such role.".to_owned(),
            Denial::EntityUnknown => "No: the site has no such business entity.".to_owned(),
            Denial::RoleNotHeld | Denial::PermissionNotHeld if roles.is_empty() => {
                format!("No: {who} holds no role.")
            }
            Denial::RoleNotHeld => format!("No: {who} holds other roles only: {roles}."),
            Denial::PermissionNotHeld => match &self.question.ability {
                Ability::Permission(permission) => {
                    format!("No: none of the roles of {who} ({roles}) carries {permission}.")
                }
                Ability::Role(_) => format!("No: {who} holds other roles only: {roles}."),
            },
            Denial::NotReached => {
                let place = self
                    .entity()
                    .map_or("any business entity".to_owned(), |(_, name)| name);
                match self.facts.reach(holder).extent {
                    Extent::Listed => {
                        format!("No: the roles of {who} reach {entities}, but not {place}.")
                    }
                    _ => format!(
                        "No: {who} has no business entity, and members without one reach nothing on this site."
                    ),
                }
            }
        }
    }
}

fn described(target: &Target) -> String {
    let kind = match target.id {
        TargetId::Role(_) => "role",
        TargetId::BusinessEntity(_) => "business entity",
    };
    format!("{kind} {}", target.name)
}

fn unique(mut names: Vec<&str>) -> Vec<&str> {
    names.dedup();
    names
}

/// By what a grant holds, and since when, to be read after what it gives.
fn reason(grant: &Grant) -> String {
    let since = moment(grant.since);
    match &grant.source {
        Source::Group { display_name, .. } => {
            format!("by the group \"{display_name}\" since {since}")
        }
        Source::Entitlement => format!("by the member's own entitlement since {since}"),
        Source::Direct {
            actor,
            reason,
            ends_at,
            ..
        } => {
            let until = ends_at.map_or(String::new(), |end| format!(" until {}", moment(end)));
            format!("by a direct grant of \"{actor}\" since {since}{until} (\"{reason}\")")
        }
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
