//! Who holds a role or a permission, and who reaches a business entity: complete, page by page, all pages
//! as of one moment.

use uuid::Uuid;

use super::{
    candidates::Candidates,
    check::{Ability, Answer, Question, ReachReason},
    facts::{Facts, Holder, Named, Wanted},
    moment::{AsOf, Moment},
    store,
};
use crate::{
    access::Grant,
    context::RequestContext,
    error::{Error, Kind},
    filter::{PageToken, digest_of},
    ids::{BusinessEntityId, RoleId},
    members::MemberName,
    site_tx::{Identity, SiteTx},
};

/// What a listing is about.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Role(Named),
    Entity(Named),
    /// A permission, in a business entity or anywhere.
    Permission(String, Option<Named>),
}

/// A page of a listing.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) subject: Subject,
    pub(crate) as_of: AsOf,
    pub(crate) limit: i64,
    /// Empty for the first page.
    pub(crate) page_token: String,
}

/// A member in a listing, and why.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) member: Holder,
    pub(crate) grants: Vec<Grant>,
    pub(crate) reach: Option<(ReachReason, Vec<Grant>)>,
}

/// A page, the token of the next one, and the moment that the listing holds for.
pub(crate) type ListedPage = (Vec<Listed>, Option<PageToken>, Moment);

/// Lists members.
pub(crate) async fn list(
    identity: &Identity,
    context: RequestContext,
    input: Result<Listing, Error>,
) -> Result<ListedPage, Error> {
    let as_of = AsOf::of(&input, |listing| match listing.page_token.is_empty() {
        true => listing.as_of,
        // The first page has settled it.
        false => AsOf::Revision(0),
    });
    identity
        .read_as_of(context, as_of, input, |tx, listing| {
            let bound_to = listing.digest(tx);
            let (moment, after) = listing.begin(tx, &bound_to)?;
            let mut wanted = listing.subject.wanted();
            let subject = store::facts(tx, moment, &wanted)?;
            let candidates = listing.candidates(&subject, after)?;
            let mut ids = candidates.load(tx)?;
            let limit = usize::try_from(listing.limit).unwrap_or(usize::MAX);
            let more = ids.len() > limit;
            ids.truncate(limit);
            let next = ids
                .last()
                .filter(|_| more)
                .map(|last| PageToken::new(bound_to.clone(), Some(moment.to_key()), last.uuid()));
            wanted.members = ids.into_iter().map(MemberName::Id).collect();
            let facts = store::facts(tx, moment, &wanted)?;
            let listed = facts
                .holders
                .iter()
                .flatten()
                .map(|holder| listing.subject.listed(&facts, holder))
                .collect();
            Ok((listed, next, moment))
        })
        .await
}

impl Listing {
    /// What the tokens of the listing are bound to.
    fn digest(&self, tx: &SiteTx<'_, '_>) -> String {
        let what = format!("{:?} {:?}", self.subject, self.as_of);
        digest_of(&[tx.site_id().as_bytes(), b"access", what.as_bytes()])
    }

    /// The moment of the listing, and the member after whom the page begins. The first page settles the
    /// moment for all others.
    fn begin(&self, tx: &mut SiteTx<'_, '_>, bound_to: &str) -> Result<(Moment, Uuid), Error> {
        if self.page_token.is_empty() {
            return Ok((self.as_of.resolve(tx)?, Uuid::nil()));
        }
        let token = PageToken::decode(&self.page_token, bound_to)?;
        let key = token.key.as_deref().unwrap_or_default();
        let moment = Moment::from_key(key, tx).ok_or(Error::PageTokenInvalid)?;
        Ok((moment, token.id))
    }

    fn candidates(&self, facts: &Facts, after: Uuid) -> Result<Candidates, Error> {
        facts.check_permissions(|_| "permission".to_owned())?;
        let (roles, reaching) = match &self.subject {
            Subject::Role(name) => {
                let role = facts.role(name).ok_or(Error::NotFound(Kind::Role))?;
                (Some(vec![role.id]), None)
            }
            Subject::Entity(name) => (None, Some(Some(entity(facts, name)?))),
            Subject::Permission(permission, place) => {
                let roles: Vec<RoleId> = facts.carrying(permission).map(|role| role.id).collect();
                let place = place.as_ref().map(|name| entity(facts, name)).transpose()?;
                (Some(roles), Some(place))
            }
        };
        Ok(Candidates {
            moment: facts.moment,
            division: facts.division,
            chiefs: facts
                .roles
                .iter()
                .filter(|role| role.reaches_all)
                .map(|role| role.id)
                .collect(),
            roles,
            reaching,
            after,
            // One more, to know whether there is another page.
            limit: self.limit + 1,
        })
    }
}

fn entity(facts: &Facts, name: &Named) -> Result<BusinessEntityId, Error> {
    let entity = facts.entity(name);
    Ok(entity.ok_or(Error::NotFound(Kind::BusinessEntity))?.id)
}

impl Subject {
    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted {
            permissions: Some(Vec::new()),
            ..Wanted::default()
        };
        match self {
            Self::Role(role) => wanted.roles.push(role.clone()),
            Self::Entity(entity) => wanted.entities.push(entity.clone()),
            Self::Permission(permission, entity) => {
                wanted.permissions = Some(vec![permission.clone()]);
                wanted.entities.extend(entity.clone());
            }
        }
        wanted
    }

    /// The member as it is listed: what a question about it would be answered with.
    fn listed(&self, facts: &Facts, holder: &Holder) -> Listed {
        let (ability, place) = match self {
            Self::Entity(name) => {
                let entity = facts.entity(name).map(|entity| entity.id);
                return Listed {
                    member: holder.clone(),
                    grants: Vec::new(),
                    reach: facts.reach(holder).reason(entity),
                };
            }
            Self::Role(name) => (Ability::Role(name.clone()), None),
            Self::Permission(permission, place) => {
                (Ability::Permission(permission.clone()), place.clone())
            }
        };
        let question = Question {
            member: MemberName::Id(holder.id),
            ability,
            entity: place,
        };
        let Answer { grants, reach, .. } = facts.answer(&question, Some(holder));
        Listed {
            member: holder.clone(),
            grants,
            reach,
        }
    }
}
