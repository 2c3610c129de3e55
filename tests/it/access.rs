//! Questions about access: what is answered, with which reasons, one at a time and hundreds at once, and
//! who is listed.

use identity_proto::v1::{self as pb, access_question::Ability};
use identity_tests::{
    rpc::{by_id, by_user_name, entity, role, target_name},
    world::{Site, World},
    writes::{member, reason},
};
use tonic::{Code, Status};

fn named(name: &str) -> pb::NamedRef {
    pb::NamedRef {
        name: name.to_owned(),
        ..Default::default()
    }
}

/// May this member do this (a permission where it has a dot, else a role), there (anywhere where empty)?
fn question(user_name: &str, ability: &str, place: &str) -> pb::AccessQuestion {
    pb::AccessQuestion {
        member: by_user_name(user_name),
        ability: Some(if ability.contains('.') {
            Ability::Permission(ability.to_owned())
        } else {
            Ability::Role(named(ability))
        }),
        business_entity: (!place.is_empty()).then(|| named(place)),
    }
}

async fn check(site: &Site, question: pb::AccessQuestion) -> Result<pb::AccessAnswer, Status> {
    let caller = &site.rpc.caller;
    let mut access = caller.access();
    let request = pb::CheckAccessRequest {
        question: Some(question),
        ..Default::default()
    };
    let answer = access.check_access(caller.request(request)).await?;
    Ok(answer.into_inner().answer.unwrap())
}

async fn ask(site: &Site, user_name: &str, ability: &str, place: &str) -> pb::AccessAnswer {
    check(site, question(user_name, ability, place))
        .await
        .unwrap()
}

async fn batch(
    site: &Site,
    questions: Vec<pb::AccessQuestion>,
) -> Result<pb::BatchCheckAccessResponse, Status> {
    let caller = &site.rpc.caller;
    let mut access = caller.access();
    let request = pb::BatchCheckAccessRequest {
        questions,
        ..Default::default()
    };
    let answer = access.batch_check_access(caller.request(request));
    Ok(answer.await?.into_inner())
}

async fn explain(site: &Site, question: pb::AccessQuestion) -> pb::ExplainAccessResponse {
    let caller = &site.rpc.caller;
    let mut access = caller.access();
    let request = pb::ExplainAccessRequest {
        question: Some(question),
        ..Default::default()
    };
    let answer = access.explain_access(caller.request(request));
    answer.await.unwrap().into_inner()
}

/// The user names of a whole listing, a page of `size` at a time.
async fn with_permission(site: &Site, permission: &str, place: &str, size: i32) -> Vec<String> {
    let caller = &site.rpc.caller;
    let mut access = caller.access();
    let (mut names, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListMembersWithPermissionRequest {
            permission: permission.to_owned(),
            business_entity: (!place.is_empty()).then(|| named(place)),
            page_size: Some(size),
            page_token,
            ..Default::default()
        };
        let answer = access.list_members_with_permission(caller.request(request));
        let page = answer.await.unwrap().into_inner();
        assert!(page.members.len() <= size as usize);
        names.extend(page.members.into_iter().map(|member| member.user_name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return names;
        }
    }
}

async fn in_entity(site: &Site, place: &str) -> Vec<(String, pb::ReachReason)> {
    let caller = &site.rpc.caller;
    let mut access = caller.access();
    let request = pb::ListMembersInBusinessEntityRequest {
        business_entity: Some(named(place)),
        ..Default::default()
    };
    let answer = access.list_members_in_business_entity(caller.request(request));
    let members = answer.await.unwrap().into_inner().members;
    members
        .into_iter()
        .map(|member| (member.user_name.clone(), member.reach_reason()))
        .collect()
}

/// `acme` with Ann (Sales Manager by a group, EU GmbH directly), Bob (Analyst directly, no entity), Cy
/// (Admin by a group) and Dee (nothing).
async fn team(world: &World) -> Site {
    let acme = world.acme().await;
    for name in ["ann", "bob", "cy", "dee"] {
        acme.scim.make_user(&format!("{name}@acme.example")).await;
    }
    let id = async |name: &str| {
        let access = acme.rpc.list_member_access(by_user_name(name)).await;
        access.unwrap().member_id
    };
    let (ann, cy) = (id("ann@acme.example").await, id("cy@acme.example").await);
    acme.scim
        .make_group("CB/acme/ROLE/Sales Manager", &[&ann])
        .await;
    acme.scim.make_group("CB/acme/ROLE/Admin", &[&cy]).await;
    for (who, what) in [("ann", entity("EU GmbH")), ("bob", role("Analyst"))] {
        let user_name = format!("{who}@acme.example");
        acme.rpc.grant(&user_name, what).await.unwrap();
    }
    acme
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_with_its_reasons() {
    let world = World::start().await;
    let acme = team(&world).await;
    let (ann, bob, cy, dee) = (
        "ann@acme.example",
        "bob@acme.example",
        "cy@acme.example",
        "dee@acme.example",
    );
    let yes = ask(&acme, ann, "coupons.manage", "EU GmbH").await;
    assert!(yes.allowed && yes.denial() == pb::Denial::Unspecified);
    assert_eq!(yes.reach_reason(), pb::ReachReason::Granted);
    assert_eq!(target_name(yes.grants[0].target.as_ref()), "Sales Manager");
    assert!(yes.grants[0].since.is_some() && yes.grants[0].since_revision > 0);
    assert!(matches!(
        &yes.grants[0].source,
        Some(pb::grant::Source::Group(group)) if group.display_name == "CB/acme/ROLE/Sales Manager"
    ));
    assert!(matches!(
        &yes.reach_grants[0].source,
        Some(pb::grant::Source::Direct(direct)) if direct.reason == "a test"
    ));
    // Admin reaches everything; the reason is the role.
    let admin = ask(&acme, cy, "settings.manage", "us inc").await;
    assert!(admin.allowed);
    assert_eq!(admin.reach_reason(), pb::ReachReason::OwnerOrAdmin);
    assert_eq!(target_name(admin.reach_grants[0].target.as_ref()), "Admin");

    for (who, what, place, denial) in [
        (
            "nobody@acme.example",
            "coupons.manage",
            "",
            pb::Denial::MemberUnknown,
        ),
        (dee, "coupons.manage", "", pb::Denial::PermissionNotHeld),
        (
            ann,
            "settings.manage",
            "EU GmbH",
            pb::Denial::PermissionNotHeld,
        ),
        (ann, "coupons.manage", "US Inc", pb::Denial::NotReached),
        (bob, "metrics.view", "EU GmbH", pb::Denial::NotReached),
        (bob, "metrics.view", "", pb::Denial::NotReached),
        (bob, "Sales Manager", "", pb::Denial::RoleNotHeld),
        (bob, "Head of Sales", "", pb::Denial::RoleUnknown),
        (
            bob,
            "Analyst",
            "Atlantis",
            pb::Denial::BusinessEntityUnknown,
        ),
    ] {
        let no = ask(&acme, who, what, place).await;
        assert!(!no.allowed && no.grants.is_empty() && no.reach_grants.is_empty());
        assert_eq!(no.denial(), denial, "{who} {what} {place}");
    }
    // All in all he may do what each question says he may: nothing, until his role reaches something.
    let access = acme
        .rpc
        .list_member_access(by_user_name(bob))
        .await
        .unwrap();
    assert!(access.permissions.is_empty() && access.roles.len() == 1);
    let access = acme
        .rpc
        .list_member_access(by_user_name(ann))
        .await
        .unwrap();
    assert!(access.permissions.contains(&"coupons.manage".to_owned()));
    // A role is held, however far it reaches.
    assert!(ask(&acme, bob, "analyst", "").await.allowed);
    assert!(!ask(&acme, bob, "analyst", "EU GmbH").await.allowed);

    // By id, in the one spelling that it has.
    let analyst = ask(&acme, bob, "Analyst", "").await.grants.remove(0);
    let Some(pb::access_target::Target::Role(analyst)) = analyst.target.unwrap().target else {
        panic!("a role");
    };
    for (id, denial) in [
        (analyst.id.clone(), pb::Denial::Unspecified),
        (analyst.id.to_uppercase(), pb::Denial::RoleUnknown),
        (analyst.id.replace('-', ""), pb::Denial::RoleUnknown),
    ] {
        let mut asked = question(bob, "Analyst", "");
        let role = pb::NamedRef {
            id,
            ..Default::default()
        };
        asked.ability = Some(Ability::Role(role));
        assert_eq!(check(&acme, asked).await.unwrap().denial(), denial);
    }

    // At once: no access while deactivated, all of it again afterwards.
    let ann_id = yes.member_id;
    acme.rpc.set_active(&ann_id, false).await.unwrap();
    let no = ask(&acme, ann, "coupons.manage", "EU GmbH").await;
    assert_eq!(no.denial(), pb::Denial::MemberInactive);
    acme.rpc.set_active(&ann_id, true).await.unwrap();
    assert!(ask(&acme, ann, "coupons.manage", "EU GmbH").await.allowed);
    acme.rpc.delete_member(&ann_id).await.unwrap();
    let mut by_her_id = question(ann, "coupons.manage", "EU GmbH");
    by_her_id.member = by_id(&ann_id);
    let no = check(&acme, by_her_id).await.unwrap();
    assert_eq!(no.denial(), pb::Denial::MemberUnknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undivided_site_is_reached_whole_and_unassigned_members_as_it_says() {
    let world = World::start().await;
    let site = world.bare_site("beta").await;
    site.make_entity("EU GmbH").await;
    let bob = site.scim.make_user("bob@beta.example").await;
    site.rpc
        .grant("bob@beta.example", role("Analyst"))
        .await
        .unwrap();
    let yes = ask(&site, "bob@beta.example", "metrics.view", "EU GmbH").await;
    assert_eq!(yes.reach_reason(), pb::ReachReason::SiteUndivided);
    let caller = &site.rpc.caller;
    let mut access = caller.access();
    let request = pb::DivideSiteRequest {
        unassigned_reach: pb::Reach::All.into(),
        ..Default::default()
    };
    let divided = caller.sites().divide_site(caller.request(request)).await;
    let divided_at = divided.unwrap().into_inner().receipt.unwrap().revision;
    let yes = ask(&site, "bob@beta.example", "metrics.view", "EU GmbH").await;
    assert_eq!(yes.reach_reason(), pb::ReachReason::Unassigned);
    let listed = in_entity(&site, "EU GmbH").await;
    assert!(listed.contains(&("bob@beta.example".to_owned(), pb::ReachReason::Unassigned)));
    for place in ["EU GmbH", ""] {
        let permitted = with_permission(&site, "metrics.view", place, 10).await;
        assert!(
            permitted.contains(&"bob@beta.example".to_owned()),
            "{place}"
        );
    }
    // With an entity of his own he has that one only.
    site.make_entity("US Inc").await;
    site.rpc
        .grant("bob@beta.example", entity("US Inc"))
        .await
        .unwrap();
    let no = ask(&site, "bob@beta.example", "metrics.view", "EU GmbH").await;
    assert_eq!(no.denial(), pb::Denial::NotReached);
    let listed = in_entity(&site, "EU GmbH").await;
    assert_eq!(
        listed,
        [(
            "owner@beta.example".to_owned(),
            pb::ReachReason::OwnerOrAdmin
        )]
    );
    let permitted = with_permission(&site, "metrics.view", "EU GmbH", 10).await;
    assert_eq!(permitted, ["owner@beta.example"]);
    // Before the division the site was reached whole.
    let mut past = pb::CheckAccessRequest {
        question: Some(question("bob@beta.example", "metrics.view", "EU GmbH")),
        ..Default::default()
    };
    past.question.as_mut().unwrap().member = by_id(&bob);
    for (revision, why) in [
        (divided_at - 1, pb::ReachReason::SiteUndivided),
        (divided_at, pb::ReachReason::Unassigned),
    ] {
        past.as_of = Some(pb::AsOf {
            moment: Some(pb::as_of::Moment::Revision(revision)),
        });
        let answer = access.check_access(caller.request(past.clone()));
        let answer = answer.await.unwrap().into_inner();
        assert_eq!(answer.revision, revision);
        assert_eq!(answer.answer.unwrap().reach_reason(), why);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_answered_in_its_order_like_each_question_alone() {
    let world = World::start().await;
    let acme = team(&world).await;
    let mut questions = Vec::new();
    for who in ["ann", "bob", "cy", "dee", "owner", "nobody"] {
        for what in [
            "coupons.manage",
            "metrics.view",
            "site.own",
            "Analyst",
            "Nothing",
        ] {
            for place in ["", "EU GmbH", "US Inc", "Atlantis"] {
                questions.push(question(&format!("{who}@acme.example"), what, place));
            }
        }
    }
    let answers = batch(&acme, questions.clone()).await.unwrap().answers;
    assert_eq!(answers.len(), questions.len());
    assert!(answers.iter().any(|answer| answer.allowed));
    for (question, answer) in questions.iter().zip(&answers) {
        assert_eq!(
            check(&acme, question.clone()).await.unwrap(),
            *answer,
            "{question:?}"
        );
    }
    // Up to 500, in one statement after the one that signs in.
    let many: Vec<_> = questions.iter().cycle().take(500).cloned().collect();
    assert_eq!(batch(&acme, many.clone()).await.unwrap().answers.len(), 500);
    let mut more = many;
    more.push(questions[0].clone());
    for bad in [vec![], more] {
        assert_eq!(
            reason(batch(&acme, bad).await, Code::InvalidArgument),
            "FIELD_INVALID"
        );
    }
    // A permission that does not exist is a mistake of who asks, and is told by its place.
    let mut wrong = questions[..3].to_vec();
    wrong[1].ability = Some(Ability::Permission("invoices.burn".to_owned()));
    let refused = batch(&acme, wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("questions[1].permission")
            && refused.message().contains("invoices.burn"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_explained_in_words_that_can_be_passed_on() {
    let world = World::start().await;
    let acme = team(&world).await;
    let yes = explain(
        &acme,
        question("ann@acme.example", "coupons.manage", "EU GmbH"),
    )
    .await;
    assert!(yes.answer.unwrap().allowed && yes.missing.is_empty() && yes.remedies.is_empty());
    assert!(
        yes.sentences[0].starts_with(
            "Yes: ann@acme.example holds Sales Manager, which carries coupons.manage, by the group \
             \"CB/acme/ROLE/Sales Manager\" since 20"
        ),
        "{:?}",
        yes.sentences
    );
    assert!(
        yes.sentences[1].starts_with("ann@acme.example was given EU GmbH by a direct grant of ")
    );

    // Everything that is missing, and what would give it.
    let no = explain(
        &acme,
        question("bob@acme.example", "coupons.manage", "US Inc"),
    )
    .await;
    assert_eq!(
        no.missing().collect::<Vec<_>>(),
        [pb::Denial::PermissionNotHeld, pb::Denial::NotReached]
    );
    let remedies: Vec<(String, String)> = no
        .remedies
        .iter()
        .map(|remedy| {
            let name = target_name(remedy.target.as_ref());
            (name, remedy.group_display_name.clone())
        })
        .collect();
    let known = |name: &str, group: &str| (name.to_owned(), group.to_owned());
    assert_eq!(
        remedies,
        [
            known("Admin", "CB/acme/ROLE/Admin"),
            known("Sales Manager", "CB/acme/ROLE/Sales Manager"),
            known("US Inc", ""),
        ]
    );
    assert_eq!(
        no.sentences,
        [
            "No: none of the roles of bob@acme.example (Analyst) carries coupons.manage.",
            "No: bob@acme.example has no business entity, and members without one reach nothing on this site.",
            "The role Admin would give it; the group \"CB/acme/ROLE/Admin\" gives that.",
            "The role Sales Manager would give it together with the business entity US Inc; the group \
             \"CB/acme/ROLE/Sales Manager\" gives that.",
            "The business entity US Inc would give it together with such a role; no group gives that today.",
        ]
    );
    // Admin reaches all; the others only together.
    let alone: Vec<bool> = no.remedies.iter().map(|remedy| remedy.alone).collect();
    assert_eq!(alone, [true, false, false]);
    let no = explain(&acme, question("dee@acme.example", "Owner", "")).await;
    assert!(no.remedies.is_empty(), "Owner is handed over, not given");
    assert_eq!(no.sentences, ["No: dee@acme.example holds no role."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remedy_that_is_said_to_be_enough_is_and_the_others_are_not() {
    let world = World::start().await;
    let acme = team(&world).await;
    let permitted =
        async |who: &str, place: &str| ask(&acme, who, "coupons.manage", place).await.allowed;
    let mut seen = [0, 0];
    for (n, place) in ["US Inc", "EU GmbH", ""].into_iter().enumerate() {
        let asked = format!("x{n}@acme.example");
        acme.scim.make_user(&asked).await;
        let found = explain(&acme, question(&asked, "coupons.manage", place)).await;
        assert!(!found.remedies.is_empty());
        for (m, remedy) in found.remedies.iter().enumerate() {
            // Somebody just like the one who was asked about.
            let like = format!("y{n}-{m}@acme.example");
            acme.scim.make_user(&like).await;
            let target = remedy.target.clone();
            acme.rpc.grant(&like, target).await.unwrap();
            let may = permitted(&like, place).await;
            assert_eq!(may, remedy.alone, "{remedy:?} in {place:?}");
            seen[usize::from(may)] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 2), "{seen:?}");

    // One who has the reach needs the role only, and one who is not active is to be reactivated first.
    let ann = question("ann@acme.example", "settings.manage", "EU GmbH");
    let mut ann = explain(&acme, ann).await.remedies;
    assert!(ann.iter().all(|remedy| remedy.alone), "{ann:?}");
    let id = acme
        .rpc
        .list_member_access(by_user_name("ann@acme.example"));
    let id = id.await.unwrap().member_id;
    acme.rpc.set_active(&id, false).await.unwrap();
    let inactive = explain(
        &acme,
        question("ann@acme.example", "coupons.manage", "US Inc"),
    )
    .await;
    assert!(inactive.remedies.iter().all(|remedy| !remedy.alone));
    assert!(
        inactive
            .sentences
            .last()
            .unwrap()
            .contains("once the member is reactivated"),
        "{:?}",
        inactive.sentences
    );
    // What is not there, nobody can be given.
    ann = explain(
        &acme,
        question("bob@acme.example", "coupons.manage", "Moon Ltd"),
    )
    .await
    .remedies;
    assert!(ann.is_empty(), "{ann:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_complete_and_hold_for_one_moment_however_they_are_paged() {
    let world = World::start().await;
    let acme = team(&world).await;
    let mut ids = Vec::new();
    for n in 0..25 {
        ids.push(acme.scim.make_user(&format!("m{n:02}@acme.example")).await);
    }
    let (agents, europe) = (&ids[..20], &ids[5..25]);
    let as_refs = |ids: &[String]| ids.to_vec();
    let agents_group = acme
        .scim
        .make_group(
            "CB/acme/ROLE/Sales Agent",
            &as_refs(agents)
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
        .await;
    acme.scim
        .make_group(
            "CB/acme/BE/EU GmbH",
            &as_refs(europe)
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
        .await;
    // The same role twice over: by the group and directly.
    acme.rpc
        .grant("m07@acme.example", role("Sales Agent"))
        .await
        .unwrap();
    acme.rpc.set_active(&ids[9], false).await.unwrap();

    let permission = "subscriptions.discount";
    let mut expected: Vec<String> = (5..20)
        .filter(|n| *n != 9)
        .map(|n| format!("m{n:02}@acme.example"))
        .collect();
    let chiefs = ["ann@acme.example", "cy@acme.example", "owner@acme.example"];
    expected.extend(chiefs.map(str::to_owned));
    expected.sort();
    for size in [1, 3, 1000] {
        let mut listed = with_permission(&acme, permission, "EU GmbH", size).await;
        listed.sort();
        assert_eq!(listed, expected, "{size} a page");
    }
    // Anywhere: those who reach something at all.
    let mut anywhere = with_permission(&acme, permission, "", 4).await;
    anywhere.sort();
    assert_eq!(anywhere, expected);
    // Each of them and nobody else is one for whom the question is answered with yes.
    let everybody: Vec<String> = ["ann", "bob", "cy", "dee", "owner"]
        .map(|name| format!("{name}@acme.example"))
        .into_iter()
        .chain((0..25).map(|n| format!("m{n:02}@acme.example")))
        .collect();
    let questions = everybody
        .iter()
        .map(|who| question(who, permission, "EU GmbH"));
    let answers = batch(&acme, questions.collect()).await.unwrap().answers;
    let mut yes: Vec<String> = everybody
        .iter()
        .zip(answers)
        .filter(|(_, answer)| answer.allowed)
        .map(|(who, _)| who.clone())
        .collect();
    yes.sort();
    assert_eq!(yes, expected);

    // Pages hold for the moment of the first one, whatever changes in between.
    let caller = &acme.rpc.caller;
    let mut request = pb::ListMembersWithRoleRequest {
        role: Some(named("sales agent")),
        page_size: Some(7),
        ..Default::default()
    };
    let list = async |request: &pb::ListMembersWithRoleRequest| {
        let mut access = caller.access();
        let answer = access.list_members_with_role(caller.request(request.clone()));
        answer.await.map(tonic::Response::into_inner)
    };
    let first = list(&request).await.unwrap();
    assert_eq!(first.members.len(), 7);
    acme.scim
        .delete(&format!("/Groups/{agents_group}"))
        .await
        .is(204);
    acme.scim
        .delete(&format!("/Users/{}", ids[19]))
        .await
        .is(204);
    let mut members = first.members;
    request.page_token = first.next_page_token;
    while !request.page_token.is_empty() {
        let page = list(&request).await.unwrap();
        assert_eq!(page.revision, first.revision);
        members.extend(page.members);
        request.page_token = page.next_page_token;
    }
    let found: Vec<&str> = members.iter().map(|m| m.member_id.as_str()).collect();
    let wanted: Vec<&str> = agents
        .iter()
        .map(String::as_str)
        .filter(|id| *id != ids[9])
        .collect();
    assert_eq!(found, wanted, "those of the first page's moment, each once");
    let twice = members.iter().find(|m| m.member_id == ids[7]).unwrap();
    assert_eq!(twice.grants.len(), 2, "with every reason");
    // A new listing tells the present: the direct grant is left.
    request.page_token.clear();
    let now = list(&request).await.unwrap();
    assert_eq!(now.members.len(), 1);
    // A token is good for its own listing only.
    let mut past = request.clone();
    past.as_of = Some(pb::AsOf {
        moment: Some(pb::as_of::Moment::Revision(first.revision)),
    });
    request.page_token = list(&past).await.unwrap().next_page_token;
    assert!(!request.page_token.is_empty());
    assert_eq!(
        reason(list(&request).await, Code::InvalidArgument),
        "PAGE_TOKEN_INVALID"
    );

    let reached = in_entity(&acme, "eu gmbh").await;
    assert_eq!(reached.len(), 18 + 3, "{reached:?}");
    assert!(reached.contains(&("cy@acme.example".to_owned(), pb::ReachReason::OwnerOrAdmin)));
    assert!(reached.contains(&("ann@acme.example".to_owned(), pb::ReachReason::Granted)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_listing_is_about_has_to_exist() {
    let world = World::start().await;
    let acme = world.acme().await;
    let caller = &acme.rpc.caller;
    let mut access = caller.access();
    let request = pb::ListMembersWithRoleRequest {
        role: Some(named("Head of Sales")),
        ..Default::default()
    };
    let listed = access.list_members_with_role(caller.request(request));
    assert_eq!(reason(listed.await, Code::NotFound), "ROLE_NOT_FOUND");
    let request = pb::ListMembersInBusinessEntityRequest {
        business_entity: Some(pb::NamedRef {
            id: "no id".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let listed = access.list_members_in_business_entity(caller.request(request));
    assert_eq!(
        reason(listed.await, Code::NotFound),
        "BUSINESS_ENTITY_NOT_FOUND"
    );
    let request = pb::ListMembersWithPermissionRequest {
        permission: "invoices.burn".to_owned(),
        ..Default::default()
    };
    let listed = access.list_members_with_permission(caller.request(request));
    assert_eq!(reason(listed.await, Code::InvalidArgument), "FIELD_INVALID");
    // A member of another site is nobody here.
    let other = world.site("other").await;
    let made = other
        .rpc
        .create_member(member("zoe@other.example"))
        .await
        .unwrap();
    let id = made.member.unwrap().id;
    other
        .rpc
        .grant("zoe@other.example", role("Admin"))
        .await
        .unwrap();
    let mut asked = question("", "coupons.manage", "");
    asked.member = by_id(&id);
    assert!(check(&other, asked.clone()).await.unwrap().allowed);
    assert_eq!(
        check(&acme, asked).await.unwrap().denial(),
        pb::Denial::MemberUnknown
    );
}
