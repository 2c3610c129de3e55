//! Versions of sites and credentials: they move with their own attributes, and a write that expects another one
//! changes nothing. (Those of members, groups, roles and entities: `deletions`; of grants: `grants_updated`.)

use identity_proto::v1 as pb;
use identity_tests::{
    locks::eventually,
    rpc::{Rpc, role},
    world::{BOOTSTRAP, World},
    writes::{mask, reason, refused},
};
use roster_stack::grpc::{Caller, site};
use tonic::{Code, Response, Status};

async fn set_limit(
    rpc: &Rpc,
    limit: i32,
    if_versions: &[i64],
) -> Result<pb::UpdateSiteResponse, Status> {
    let request = rpc.caller.request(pb::UpdateSiteRequest {
        values: Some(pb::Site {
            custom_role_limit: limit,
            ..Default::default()
        }),
        update_mask: mask(&["custom_role_limit"]),
        if_versions: if_versions.to_vec(),
        ..Default::default()
    });
    let answer = rpc.caller.sites().update_site(request).await;
    answer.map(Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sites_version_is_the_event_that_last_changed_its_settings() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let rpc = &acme.rpc;
    assert_eq!(rpc.get_site().await.version, 1);
    rpc.make_member("ann@acme.example").await;
    rpc.grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    let site = rpc.get_site().await;
    assert!(site.revision > 3);
    assert_eq!(site.version, 1, "nothing of it was about the site");

    let updated = set_limit(rpc, 12, &[7, 1]).await.unwrap();
    let version = updated.receipt.unwrap().revision;
    assert_eq!(updated.site.unwrap().version, version);
    let before = world.database.snapshot();
    // Also one that would find all as it asks.
    for limit in [13, 12] {
        let stale = set_limit(rpc, limit, &[1]).await;
        let (name, metadata) = refused(stale, Code::Aborted);
        assert_eq!(name, "VERSION_MISMATCH");
        assert_eq!(metadata["version"], version.to_string());
    }
    let same = set_limit(rpc, 12, &[version]).await.unwrap();
    assert!(!same.receipt.unwrap().changed);
    assert_eq!(same.site.unwrap().version, version);
    assert_eq!(world.database.snapshot(), before);

    let divided = rpc.divide(pb::Reach::All).await.unwrap();
    let version = divided.receipt.unwrap().revision;
    assert_eq!(divided.site.unwrap().version, version);
    let none = pb::Site {
        unassigned_reach: pb::Reach::None.into(),
        ..Default::default()
    };
    let updated = rpc.update_site(none, &["unassigned_reach"]).await.unwrap();
    let version = updated.receipt.unwrap().revision;
    let shown = rpc.get_site().await;
    assert_eq!(shown.version, version);
    assert_eq!(updated.site.unwrap().version, version);
    // It is the same wherever the site is shown.
    let request = rpc.caller.request(pb::GetCallerRequest::default());
    let caller = rpc.caller.credentials().get_caller(request).await.unwrap();
    assert_eq!(caller.into_inner().site.unwrap(), shown);
    let (token, _) = world.issue_for_all(&[pb::Scope::Read]).await;
    let reader = world.caller(&token);
    let request = reader.request(pb::ListSitesRequest::default());
    let listed = reader.sites().list_sites(request).await.unwrap();
    assert_eq!(listed.into_inner().sites, [shown]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_change_a_site_at_the_version_they_read_one_does() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    let mut version = 1;
    for round in 0..5 {
        let changes = (0..6).map(|n| {
            let rpc = acme.rpc.clone();
            tokio::spawn(async move { set_limit(&rpc, 20 + 6 * round + n, &[version]).await })
        });
        let mut done = Vec::new();
        for change in changes.collect::<Vec<_>>() {
            match change.await.unwrap() {
                Ok(answer) => done.push(answer.site.unwrap().version),
                other => assert_eq!(reason(other, Code::Aborted), "VERSION_MISMATCH"),
            }
        }
        let [only] = done[..] else { panic!("{done:?}") };
        version = only;
    }
}

/// A credential of a site or of all, as its administrator changes it.
struct Kept<'a> {
    caller: &'a Caller,
    site: Option<pb::SiteRef>,
    all_sites: bool,
    id: String,
}

impl Kept<'_> {
    async fn get(&self) -> pb::Credential {
        let request = self.caller.request(pb::GetCredentialRequest {
            site: self.site.clone(),
            all_sites: self.all_sites,
            credential_id: self.id.clone(),
            ..Default::default()
        });
        let answer = self.caller.credentials().get_credential(request).await;
        answer.unwrap().into_inner().credential.unwrap()
    }

    async fn label(&self, label: &str, if_versions: &[i64]) -> Result<pb::Credential, Status> {
        let request = self.caller.request(pb::UpdateCredentialRequest {
            site: self.site.clone(),
            all_sites: self.all_sites,
            credential_id: self.id.clone(),
            values: Some(pb::Credential {
                label: label.to_owned(),
                ..Default::default()
            }),
            update_mask: mask(&["label"]),
            if_versions: if_versions.to_vec(),
            ..Default::default()
        });
        let answer = self.caller.credentials().update_credential(request).await?;
        Ok(answer.into_inner().credential.unwrap())
    }

    async fn revoke(&self, if_versions: &[i64]) -> Result<pb::Credential, Status> {
        let request = self.caller.request(pb::RevokeCredentialRequest {
            site: self.site.clone(),
            all_sites: self.all_sites,
            credential_id: self.id.clone(),
            if_versions: if_versions.to_vec(),
            ..Default::default()
        });
        let answer = self.caller.credentials().revoke_credential(request).await?;
        Ok(answer.into_inner().credential.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_version_counts_its_changes_and_not_its_use() {
    let world = World::start().await;
    world.bare_site("acme").await;
    let bootstrap = world.caller(BOOTSTRAP);
    let (site_token, site_id) = world.issue("acme", &[pb::Scope::Read]).await;
    let (all_token, all_id) = world.issue_for_all(&[pb::Scope::Read]).await;
    let credentials = [
        (site_token, "credentials", site("acme"), false, site_id),
        (all_token, "all_site_credentials", None, true, all_id),
    ];
    for (token, table, site, all_sites, id) in credentials {
        let kept = Kept {
            caller: &bootstrap,
            site,
            all_sites,
            id,
        };
        assert_eq!(kept.get().await.version, 1, "{table}");
        // Used, which is written beside the call.
        let user = world.caller(&token);
        let request = user.request(pb::GetCallerRequest::default());
        user.credentials().get_caller(request).await.unwrap();
        eventually("its use is written", || {
            world.database.number(&format!(
                "SELECT count(last_used_at) AS n FROM {table} WHERE credential_id = '{}'",
                kept.id
            )) == 1
        })
        .await;
        assert_eq!(kept.get().await.version, 1, "{table}");

        let renamed = kept.label("One", &[1, 5]).await.unwrap();
        assert_eq!((renamed.label.as_str(), renamed.version), ("One", 2));
        assert_eq!(
            kept.label("One", &[2]).await.unwrap().version,
            2,
            "no change"
        );
        let stale = kept.label("Two", &[1, 3]).await;
        let (name, metadata) = refused(stale, Code::Aborted);
        assert_eq!(
            (name.as_str(), metadata["version"].as_str()),
            ("VERSION_MISMATCH", "2")
        );
        // Changed by the release before, which knows no versions.
        world.database.execute(&format!(
            "UPDATE {table} SET label = 'Three' WHERE credential_id = '{}'",
            kept.id
        ));
        assert_eq!(kept.get().await.version, 3);

        let stale = kept.revoke(&[2]).await;
        assert_eq!(reason(stale, Code::Aborted), "VERSION_MISMATCH");
        assert_eq!(kept.get().await.revoke_time, None);
        let revoked = kept.revoke(&[3]).await.unwrap();
        assert_eq!(revoked.version, 4);
        assert!(revoked.revoke_time.is_some());
        assert_eq!(kept.get().await.version, 4);
        // Again it changes nothing, where the version is the one expected.
        assert_eq!(kept.revoke(&[]).await.unwrap(), kept.get().await);
        let stale = kept.revoke(&[3]).await;
        assert_eq!(reason(stale, Code::Aborted), "VERSION_MISMATCH");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_not_ended_at_another_version() {
    let world = World::start().await;
    let acme = world.bare_site("acme").await;
    acme.rpc.make_member("ann@acme.example").await;
    let id = acme
        .rpc
        .grant("ann@acme.example", role("Analyst"))
        .await
        .unwrap();
    let version = identity_tests::grants::get(&acme.rpc, &id).await.version;
    let end = async |if_versions: &[i64]| {
        let request = acme.rpc.caller.request(pb::EndGrantRequest {
            grant_id: id.clone(),
            if_versions: if_versions.to_vec(),
            ..Default::default()
        });
        acme.rpc.grants().end_grant(request).await
    };
    let before = world.database.snapshot();
    let stale = end(&[version + 1]).await;
    assert_eq!(reason(stale, Code::Aborted), "VERSION_MISMATCH");
    assert_eq!(world.database.snapshot(), before);
    end(&[version]).await.unwrap();
    assert!(acme.rpc.roles("ann@acme.example").await.is_empty());
}
