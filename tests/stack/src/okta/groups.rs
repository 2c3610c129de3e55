//! What Okta does with groups: push, rename, change the membership, unlink.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::{AppKind, GROUP, Okta, users::id_of};

/// How many membership changes Okta puts into one PATCH.
const BATCH: usize = 100;

/// A group that Okta pushes: what it knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedGroup {
    /// The server's id.
    pub id: String,
    /// The display name.
    pub name: String,
    /// The members: the server's id and the login of each.
    pub members: BTreeMap<String, String>,
}

impl PushedGroup {
    fn path(&self) -> String {
        format!("/Groups/{}", self.id)
    }

    fn action(&self) -> String {
        format!(
            "Unable to update Group Push mapping target App group {}",
            self.name
        )
    }
}

impl Okta {
    /// Looks a group up by name.
    pub async fn find_group(&self, name: &str) -> Result<Option<Value>> {
        let mut found = self.find("Groups", "displayName", name).await?;
        if found.len() > 1 {
            bail!("{} groups have the name {name}", found.len());
        }
        Ok(found.pop())
    }

    /// Creates a group without members.
    pub async fn create_group(&self, name: &str) -> Result<PushedGroup> {
        let body = json!({"schemas": [GROUP], "displayName": name, "members": []});
        let answer = self.call(Method::POST, "/Groups", Some(&body)).await?;
        let action = format!("Unable to create group {name}");
        let group = PushedGroup {
            id: id_of(&answer.done(&action)?)?,
            name: name.to_owned(),
            members: BTreeMap::new(),
        };
        if self.kind == AppKind::Catalogue {
            self.push_name(&group).await?;
        }
        Ok(group)
    }

    /// Links to a group that is there already: it gets the name, and its members stay for now.
    pub async fn link_group(&self, id: &str, name: &str) -> Result<PushedGroup> {
        let mut group = PushedGroup {
            id: id.to_owned(),
            name: String::new(),
            members: BTreeMap::new(),
        };
        let read = self
            .call(Method::GET, &group.path(), None)
            .await?
            .done("Unable to link")?;
        for member in read["members"].as_array().into_iter().flatten() {
            if let Some(id) = member["value"].as_str() {
                group.members.insert(id.to_owned(), String::new());
            }
        }
        self.rename_group(&mut group, name).await?;
        Ok(group)
    }

    /// Renames a group.
    pub async fn rename_group(&self, group: &mut PushedGroup, name: &str) -> Result<()> {
        let renamed = PushedGroup {
            name: name.to_owned(),
            ..group.clone()
        };
        match self.kind {
            AppKind::Catalogue => self.push_name(&renamed).await?,
            AppKind::Wizard => self.put_group(&renamed).await?,
        }
        *group = renamed;
        Ok(())
    }

    /// The button `Push Now`: the whole membership, whatever the server has.
    pub async fn push_now(
        &self,
        group: &mut PushedGroup,
        members: BTreeMap<String, String>,
    ) -> Result<()> {
        group.members = members;
        if self.kind == AppKind::Wizard {
            return self.put_group(group).await;
        }
        self.push_name(group).await?;
        let value = elements(&group.members);
        let operations = json!([{"op": "replace", "path": "members", "value": value}]);
        self.patch(&group.path(), operations)
            .await?
            .done(&group.action())
            .map(drop)
    }

    /// Pushes a changed membership: the name first, then what has changed.
    pub async fn push_changes(
        &self,
        group: &mut PushedGroup,
        members: BTreeMap<String, String>,
    ) -> Result<()> {
        let before = std::mem::replace(&mut group.members, members);
        if before == group.members {
            return Ok(());
        }
        if self.kind == AppKind::Wizard {
            return self.put_group(group).await;
        }
        self.push_name(group).await?;
        let removed: Vec<&String> = before
            .keys()
            .filter(|id| !group.members.contains_key(*id))
            .collect();
        let added: Vec<(&String, &String)> = group
            .members
            .iter()
            .filter(|(id, _)| !before.contains_key(*id))
            .collect();
        let mut removals = removed.chunks(BATCH);
        let mut additions = added.chunks(BATCH);
        loop {
            let (removal, addition) = (removals.next(), additions.next());
            let mut operations: Vec<Value> = removal
                .unwrap_or_default()
                .iter()
                .map(|id| json!({"op": "remove", "path": format!("members[value eq \"{id}\"]")}))
                .collect();
            if let Some(addition) = addition {
                let value: Vec<Value> = addition
                    .iter()
                    .map(|(id, login)| element(id, login))
                    .collect();
                operations.push(json!({"op": "add", "path": "members", "value": value}));
            }
            if operations.is_empty() {
                return Ok(());
            }
            self.patch(&group.path(), json!(operations))
                .await?
                .done(&group.action())?;
        }
    }

    /// Unlinks a group and deletes it in the app.
    pub async fn delete_group(&self, group: PushedGroup) -> Result<()> {
        let answer = self.call(Method::DELETE, &group.path(), None).await?;
        answer.done(&group.action()).map(drop)
    }

    /// The path-less shape, which names the group's id once more.
    async fn push_name(&self, group: &PushedGroup) -> Result<()> {
        let value = json!({"id": group.id, "displayName": group.name});
        let operations = json!([{"op": "replace", "value": value}]);
        self.patch(&group.path(), operations)
            .await?
            .done(&group.action())
            .map(drop)
    }

    async fn put_group(&self, group: &PushedGroup) -> Result<()> {
        let body = json!({
            "schemas": [GROUP],
            "id": group.id,
            "displayName": group.name,
            "members": elements(&group.members),
        });
        let answer = self.call(Method::PUT, &group.path(), Some(&body)).await?;
        answer.done(&group.action()).map(drop)
    }
}

fn elements(members: &BTreeMap<String, String>) -> Vec<Value> {
    members
        .iter()
        .map(|(id, login)| element(id, login))
        .collect()
}

fn element(id: &str, login: &str) -> Value {
    json!({"value": id, "display": login})
}
