//! How access is asked for over gRPC.

use chrono::SubsecRound;
use identity_proto::v1 as pb;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    AsOf, Grant, MemberAccess, Moment, Named, Source, TargetId,
    check::{self, Ability, Answer, Denial, Question, Questions, ReachReason},
    explain::{self, Remedy},
    listing::{self, Listed, Listing, Subject},
};
use crate::{
    authz::Method,
    context::RequestContext,
    error::{Error, Kind},
    ids::{MemberId, RoleId},
    members::{MemberName, rpc::read_ref},
    names::lookup_key,
    site_tx::Identity,
    wire,
};

/// The most questions of one batch.
const QUESTIONS_MAX: usize = 500;

/// `identity.v1.AccessService`.
pub(crate) struct AccessRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::access_service_server::AccessService for AccessRpc {
    async fn check_access(
        &self,
        request: Request<pb::CheckAccessRequest>,
    ) -> Result<Response<pb::CheckAccessResponse>, Status> {
        let context = self.0.context(Method::CheckAccess, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let questions = read_question(message.question, message.as_of);
        let (mut answers, moment) = check::answer(&self.0, context, questions).await?;
        Ok(Response::new(pb::CheckAccessResponse {
            answer: answers.pop().map(Into::into),
            revision: moment.revision,
            ended_by: moment.shown_ended_by(),
        }))
    }

    async fn batch_check_access(
        &self,
        request: Request<pb::BatchCheckAccessRequest>,
    ) -> Result<Response<pb::BatchCheckAccessResponse>, Status> {
        let context = self.0.context(Method::BatchCheckAccess, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let questions = read_questions(message.questions, message.as_of);
        let (answers, moment) = check::answer(&self.0, context, questions).await?;
        Ok(Response::new(pb::BatchCheckAccessResponse {
            answers: answers.into_iter().map(Into::into).collect(),
            revision: moment.revision,
            ended_by: moment.shown_ended_by(),
        }))
    }

    async fn explain_access(
        &self,
        request: Request<pb::ExplainAccessRequest>,
    ) -> Result<Response<pb::ExplainAccessResponse>, Status> {
        let context = self.0.context(Method::ExplainAccess, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let question = read_question(message.question, message.as_of);
        let explained = explain::explain(&self.0, context, question).await?;
        Ok(Response::new(pb::ExplainAccessResponse {
            missing: explained
                .answer
                .missing
                .iter()
                .map(|denial| pb::Denial::from(*denial).into())
                .collect(),
            answer: Some(explained.answer.into()),
            sentences: explained.sentences,
            remedies: explained.remedies.into_iter().map(Into::into).collect(),
            revision: explained.moment.revision,
            ended_by: explained.moment.shown_ended_by(),
        }))
    }

    async fn list_member_access(
        &self,
        request: Request<pb::ListMemberAccessRequest>,
    ) -> Result<Response<pb::ListMemberAccessResponse>, Status> {
        let context = self.0.context(Method::ListMemberAccess, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let asked = read_ref(message.member.as_ref())
            .and_then(|member| Ok((member, read_as_of(message.as_of)?)));
        let access = super::of_member(&self.0, context, asked).await?;
        Ok(Response::new(access.into()))
    }

    async fn list_members_with_role(
        &self,
        request: Request<pb::ListMembersWithRoleRequest>,
    ) -> Result<Response<pb::ListMembersWithRoleResponse>, Status> {
        let context = self.0.context(Method::ListMembersWithRole, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let subject = read_named(message.role, "role").map(Subject::Role);
        let page = (message.page_size, message.page_token);
        let listed = self.list(context, subject, message.as_of, page).await?;
        let (members, next_page_token, moment) = listed;
        Ok(Response::new(pb::ListMembersWithRoleResponse {
            members,
            next_page_token,
            revision: moment.revision,
            ended_by: moment.shown_ended_by(),
        }))
    }

    async fn list_members_in_business_entity(
        &self,
        request: Request<pb::ListMembersInBusinessEntityRequest>,
    ) -> Result<Response<pb::ListMembersInBusinessEntityResponse>, Status> {
        let context = self
            .0
            .context(Method::ListMembersInBusinessEntity, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let subject = read_named(message.business_entity, "business_entity").map(Subject::Entity);
        let page = (message.page_size, message.page_token);
        let listed = self.list(context, subject, message.as_of, page).await?;
        let (members, next_page_token, moment) = listed;
        Ok(Response::new(pb::ListMembersInBusinessEntityResponse {
            members,
            next_page_token,
            revision: moment.revision,
            ended_by: moment.shown_ended_by(),
        }))
    }

    async fn list_members_with_permission(
        &self,
        request: Request<pb::ListMembersWithPermissionRequest>,
    ) -> Result<Response<pb::ListMembersWithPermissionResponse>, Status> {
        let context = self.0.context(Method::ListMembersWithPermission, &request);
        let message = request.into_inner();
        let context = context
            .for_site(message.site.as_ref())
            .at_least(message.min_revision);
        let subject = read_permission(message.permission).and_then(|permission| {
            let place = message.business_entity;
            let place = place.map(|place| read_named(Some(place), "business_entity"));
            Ok(Subject::Permission(permission, place.transpose()?))
        });
        let page = (message.page_size, message.page_token);
        let listed = self.list(context, subject, message.as_of, page).await?;
        let (members, next_page_token, moment) = listed;
        Ok(Response::new(pb::ListMembersWithPermissionResponse {
            members,
            next_page_token,
            revision: moment.revision,
            ended_by: moment.shown_ended_by(),
        }))
    }
}

impl AccessRpc {
    /// A page of a listing: who is on it, the token of the next one, and the moment.
    async fn list(
        &self,
        context: RequestContext,
        subject: Result<Subject, Error>,
        as_of: Option<pb::AsOf>,
        (page_size, page_token): (Option<i32>, String),
    ) -> Result<(Vec<pb::MemberWithAccess>, String, Moment), Status> {
        let listing = subject.and_then(|subject| {
            Ok(Listing {
                subject,
                as_of: read_as_of(as_of)?,
                limit: wire::page_size(page_size, 1, wire::PAGE_SIZE_DEFAULT)?,
                page_token,
            })
        });
        let (members, next, moment) = listing::list(&self.0, context, listing).await?;
        let next = next.map(|token| token.encode()).unwrap_or_default();
        let members = members.into_iter().map(Into::into).collect();
        Ok((members, next, moment))
    }
}

fn read_question(
    question: Option<pb::AccessQuestion>,
    as_of: Option<pb::AsOf>,
) -> Result<Questions, Error> {
    let question = question.ok_or_else(|| Error::invalid("question", "must be asked"))?;
    Ok(Questions {
        list: vec![read_one(question).map_err(|error| at("question", error))?],
        as_of: read_as_of(as_of)?,
    })
}

fn read_questions(
    questions: Vec<pb::AccessQuestion>,
    as_of: Option<pb::AsOf>,
) -> Result<Questions, Error> {
    if questions.is_empty() || questions.len() > QUESTIONS_MAX {
        return Err(Error::invalid(
            "questions",
            format!(
                "are {}; a batch has 1 to {QUESTIONS_MAX} of them",
                questions.len()
            ),
        ));
    }
    let list = questions.into_iter().enumerate().map(|(place, question)| {
        read_one(question).map_err(|error| at(&format!("questions[{place}]"), error))
    });
    Ok(Questions {
        list: list.collect::<Result<_, _>>()?,
        as_of: read_as_of(as_of)?,
    })
}

/// The error of a field inside `parent`.
fn at(parent: &str, error: Error) -> Error {
    match error {
        Error::Invalid { field, message } => Error::invalid(format!("{parent}.{field}"), message),
        error => error,
    }
}

fn read_one(question: pb::AccessQuestion) -> Result<Question, Error> {
    let member = match read_ref(question.member.as_ref()) {
        // What is no id is nobody's: the answer is no, as for an id that nobody has.
        Err(Error::NotFound(Kind::Member)) => MemberName::Id(MemberId::from(Uuid::nil())),
        member => member?,
    };
    let ability = match question.ability {
        None => {
            return Err(Error::invalid("ability", "must be a permission or a role"));
        }
        Some(pb::access_question::Ability::Permission(permission)) => {
            Ability::Permission(read_permission(permission)?)
        }
        Some(pb::access_question::Ability::Role(role)) => {
            Ability::Role(read_named(Some(role), "role")?)
        }
    };
    let entity = question.business_entity;
    let entity = entity.map(|entity| read_named(Some(entity), "business_entity"));
    Ok(Question {
        member,
        ability,
        entity: entity.transpose()?,
    })
}

fn read_permission(permission: String) -> Result<String, Error> {
    if permission.is_empty() || permission.contains('\0') {
        return Err(Error::invalid(
            "permission",
            "must be a name from the catalogue of permissions",
        ));
    }
    Ok(permission)
}

/// A role or business entity by id, or by name where the id is empty.
fn read_named(named: Option<pb::NamedRef>, field: &'static str) -> Result<Named, Error> {
    match named {
        Some(named) if !named.id.is_empty() => {
            // Ids of all kinds are written alike; another spelling is nobody's.
            let id = RoleId::parse(&named.id);
            Ok(id.map_or(Named::Nothing, |id| Named::Id(id.uuid())))
        }
        Some(named) if !named.name.is_empty() => Ok(Named::Key(lookup_key(&named.name))),
        _ => Err(Error::invalid(field, "must be named by id or by name")),
    }
}

fn read_as_of(as_of: Option<pb::AsOf>) -> Result<AsOf, Error> {
    let Some(as_of) = as_of else {
        return Ok(AsOf::Now);
    };
    Ok(match as_of.moment {
        // Whoever meant a moment and lost it must not take the present for it.
        None => return Err(Error::invalid("as_of", "names no moment")),
        Some(pb::as_of::Moment::Revision(revision)) => AsOf::Revision(revision),
        Some(pb::as_of::Moment::Time(time)) => {
            let time = wire::moment(&time, "as_of.time")?;
            AsOf::Time(time.trunc_subsecs(3))
        }
    })
}

impl From<Denial> for pb::Denial {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::MemberUnknown => Self::MemberUnknown,
            Denial::MemberInactive => Self::MemberInactive,
            Denial::RoleUnknown => Self::RoleUnknown,
            Denial::EntityUnknown => Self::BusinessEntityUnknown,
            Denial::RoleNotHeld => Self::RoleNotHeld,
            Denial::PermissionNotHeld => Self::PermissionNotHeld,
            Denial::NotReached => Self::NotReached,
        }
    }
}

impl From<ReachReason> for pb::ReachReason {
    fn from(reason: ReachReason) -> Self {
        match reason {
            ReachReason::Undivided => Self::SiteUndivided,
            ReachReason::Chief => Self::OwnerOrAdmin,
            ReachReason::Granted => Self::Granted,
            ReachReason::Unassigned => Self::Unassigned,
        }
    }
}

/// Why roles reach, as the contract has it.
fn reach_parts(reach: Option<(ReachReason, Vec<Grant>)>) -> (i32, Vec<pb::Grant>) {
    match reach {
        None => (pb::ReachReason::Unspecified.into(), Vec::new()),
        Some((reason, grants)) => (
            pb::ReachReason::from(reason).into(),
            grants.into_iter().map(Into::into).collect(),
        ),
    }
}

impl From<Answer> for pb::AccessAnswer {
    fn from(answer: Answer) -> Self {
        let denial = answer.missing.first().copied();
        let (reach_reason, reach_grants) = reach_parts(answer.reach);
        Self {
            allowed: denial.is_none(),
            denial: denial
                .map_or(pb::Denial::Unspecified, pb::Denial::from)
                .into(),
            member_id: answer.member.map(|id| id.to_string()).unwrap_or_default(),
            grants: answer.grants.into_iter().map(Into::into).collect(),
            reach_reason,
            reach_grants,
        }
    }
}

impl From<Listed> for pb::MemberWithAccess {
    fn from(listed: Listed) -> Self {
        let (reach_reason, reach_grants) = reach_parts(listed.reach);
        Self {
            member_id: listed.member.id.to_string(),
            user_name: listed.member.user_name,
            grants: listed.grants.into_iter().map(Into::into).collect(),
            reach_reason,
            reach_grants,
        }
    }
}

impl From<Remedy> for pb::Remedy {
    fn from(remedy: Remedy) -> Self {
        let (group_id, group_display_name) = remedy
            .group
            .map(|(id, name)| (id.to_string(), name))
            .unwrap_or_default();
        Self {
            target: Some(remedy.target.into()),
            group_id,
            group_display_name,
            alone: remedy.alone,
        }
    }
}

impl From<MemberAccess> for pb::ListMemberAccessResponse {
    fn from(access: MemberAccess) -> Self {
        let active = access.holder.active;
        let mut response = Self {
            member_id: access.holder.id.to_string(),
            user_name: access.holder.user_name,
            active,
            reach: access.reach.into(),
            permissions: access.permissions,
            revision: access.moment.revision,
            ended_by: access.moment.shown_ended_by(),
            ..Self::default()
        };
        for grant in access.holder.grants {
            if !active {
                response.suspended.push(grant.into());
                continue;
            }
            let list = match grant.target.id {
                TargetId::Role(_) => &mut response.roles,
                TargetId::BusinessEntity(_) => &mut response.business_entities,
            };
            let target = pb::AccessTarget::from(grant.target.clone());
            match list.last_mut() {
                Some(last) if last.target.as_ref() == Some(&target) => {
                    last.grants.push(grant.into());
                }
                _ => list.push(pb::GrantedTarget {
                    target: Some(target),
                    grants: vec![grant.into()],
                }),
            }
        }
        response
    }
}

impl From<Grant> for pb::Grant {
    fn from(grant: Grant) -> Self {
        Self {
            target: Some(grant.target.into()),
            source: Some(match grant.source {
                Source::Group { id, display_name } => pb::grant::Source::Group(pb::GroupSource {
                    group_id: id.to_string(),
                    display_name,
                }),
                Source::Entitlement => pb::grant::Source::Entitlement(pb::EntitlementSource {}),
                Source::Direct {
                    id,
                    actor,
                    reason,
                    ends_at,
                } => pb::grant::Source::Direct(pb::DirectSource {
                    grant_id: id.to_string(),
                    actor,
                    reason,
                    end_time: ends_at.map(wire::timestamp),
                }),
            }),
            since: Some(wire::timestamp(grant.since)),
            since_revision: grant.since_event,
        }
    }
}
