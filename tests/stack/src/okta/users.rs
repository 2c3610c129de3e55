//! What Okta does with users: assign, update, deactivate, reactivate.

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::{AppKind, ENTERPRISE, Okta, USER};
use crate::secret::random_text;

/// What Okta knows of a user and maps to the app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Okta's own id.
    pub okta_id: String,
    /// The user name, an e-mail address.
    pub user_name: String,
    /// The given name.
    pub given_name: String,
    /// The family name.
    pub family_name: String,
    /// The title.
    pub title: String,
    /// The department.
    pub department: String,
}

impl Profile {
    /// The attributes that Okta owns.
    fn attributes(&self) -> Value {
        json!({
            "userName": self.user_name,
            "name": {"givenName": self.given_name, "familyName": self.family_name},
            "emails": [{"primary": true, "value": self.user_name, "type": "work"}],
            "title": self.title,
            "displayName": format!("{} {}", self.given_name, self.family_name),
            "locale": "en-US",
            "externalId": self.okta_id,
            (ENTERPRISE): {"department": self.department},
        })
    }

    /// The body of a create: with a throw-away password, and with groups, which are read-only.
    pub fn create_body(&self) -> Value {
        let mut body = self.attributes();
        body["schemas"] = json!([USER, ENTERPRISE]);
        body["groups"] = json!([]);
        body["password"] = json!(random_text(16));
        body["active"] = json!(true);
        body
    }

    /// The server's own JSON with Okta's changes put into it.
    fn merged_into(&self, mut resource: Value) -> Value {
        if let (Some(into), Value::Object(changes)) = (resource.as_object_mut(), self.attributes())
        {
            into.extend(changes);
        }
        resource
    }
}

impl Okta {
    /// Looks a user up by name, as before each assignment. Inactive ones are found too.
    pub async fn find_user(&self, user_name: &str) -> Result<Option<Value>> {
        let mut found = self.find("Users", "userName", user_name).await?;
        if found.len() > 1 {
            bail!("Multiple users found by userName. Expected 0 or 1 results");
        }
        Ok(found.pop())
    }

    /// Assigns a user to the app: finds and adopts it, or creates it. Answers the server's id.
    pub async fn assign(&self, profile: &Profile) -> Result<String> {
        if let Some(found) = self.find_user(&profile.user_name).await? {
            let id = id_of(&found)?;
            self.put_user(&id, profile, Some(true)).await?;
            return Ok(id);
        }
        let body = profile.create_body();
        let answer = self.call(Method::POST, "/Users", Some(&body)).await?;
        let created = answer.done(&format!("Error while creating user {}", profile.user_name))?;
        if created.is_null() {
            bail!("Create new user returned empty user");
        }
        if created["userName"] != body["userName"] {
            bail!("the user name came back as {}", created["userName"]);
        }
        id_of(&created)
    }

    /// Pushes a changed profile.
    pub async fn update_profile(&self, id: &str, profile: &Profile) -> Result<()> {
        self.put_user(id, profile, None).await
    }

    /// Unassigns or deactivates a user.
    pub async fn deactivate(&self, id: &str, profile: &Profile) -> Result<()> {
        self.set_active(id, profile, false).await
    }

    /// Assigns a deactivated user again: found under its id, activated, its profile pushed.
    pub async fn reactivate(&self, id: &str, profile: &Profile) -> Result<()> {
        let found = self.find_user(&profile.user_name).await?;
        let found = found.with_context(|| format!("{} is gone", profile.user_name))?;
        if id_of(&found)? != id {
            bail!("{} came back under another id", profile.user_name);
        }
        self.set_active(id, profile, true).await?;
        self.put_user(id, profile, None).await
    }

    async fn set_active(&self, id: &str, profile: &Profile, active: bool) -> Result<()> {
        if self.kind == AppKind::Wizard {
            return self.put_user(id, profile, Some(active)).await;
        }
        let operations = json!([{"op": "replace", "value": {"active": active}}]);
        let answer = self.patch(&format!("/Users/{id}"), operations).await?;
        answer
            .done(&format!("Error while updating user {}", profile.user_name))
            .map(drop)
    }

    /// Reads the user, puts the changes into what came, and puts the whole back.
    async fn put_user(&self, id: &str, profile: &Profile, active: Option<bool>) -> Result<()> {
        let path = format!("/Users/{id}");
        let action = format!("Error while updating user {}", profile.user_name);
        let resource = self.call(Method::GET, &path, None).await?.done(&action)?;
        let mut body = profile.merged_into(resource);
        if let Some(active) = active {
            body["active"] = json!(active);
        }
        self.call(Method::PUT, &path, Some(&body))
            .await?
            .done(&action)
            .map(drop)
    }
}

pub(super) fn id_of(resource: &Value) -> Result<String> {
    Ok(resource["id"]
        .as_str()
        .context("a resource without an id")?
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            okta_id: "00u1".to_owned(),
            user_name: "a@acme.example".to_owned(),
            given_name: "Ada".to_owned(),
            family_name: "Byron".to_owned(),
            title: "Analyst".to_owned(),
            department: "Data".to_owned(),
        }
    }

    #[test]
    fn a_create_carries_a_password_and_empty_groups() {
        let body = profile().create_body();
        assert_eq!(body["groups"], json!([]));
        assert_eq!(body["password"].as_str().unwrap().len(), 16);
        assert_eq!(body["displayName"], "Ada Byron");
        assert_eq!(body[ENTERPRISE]["department"], "Data");
    }

    #[test]
    fn an_update_sends_back_what_it_does_not_know() {
        let ours =
            json!({"id": "1", "meta": {"version": "x"}, "urn:ours": {"a": 1}, "title": "Old"});
        let body = profile().merged_into(ours);
        assert_eq!(body["id"], "1");
        assert_eq!(body["meta"]["version"], "x");
        assert_eq!(body["urn:ours"]["a"], 1);
        assert_eq!(body["title"], "Analyst");
    }
}
