//! How a diagnosis is asked for over gRPC.

use identity_proto::v1 as pb;
use identity_runtime::version;
use tonic::{Request, Response, Status};

use super::Diagnosis;
use crate::{authz::Method, credentials::Credential, db, site_tx::Identity, wire};

/// `identity.v1.DiagnosisService`.
pub(crate) struct DiagnosisRpc(pub(crate) Identity);

#[tonic::async_trait]
impl pb::diagnosis_service_server::DiagnosisService for DiagnosisRpc {
    async fn get_diagnosis(
        &self,
        request: Request<pb::GetDiagnosisRequest>,
    ) -> Result<Response<pb::GetDiagnosisResponse>, Status> {
        let context = self.0.context(Method::GetDiagnosis, &request);
        let message = request.into_inner();
        let context = context.for_site(message.site.as_ref());
        let diagnosis = super::diagnose(&self.0, context).await?;
        Ok(Response::new(diagnosis.into()))
    }
}

impl From<Diagnosis> for pb::GetDiagnosisResponse {
    fn from(diagnosis: Diagnosis) -> Self {
        let Diagnosis {
            time,
            database,
            not_ready,
            providers,
        } = diagnosis;
        let needed = db::needed_migrations();
        let expected = needed.last().map(|newest| newest.version.clone());
        let missing = needed
            .into_iter()
            .filter(|migration| !database.migrations.contains(&migration.version));
        Self {
            version: version::VERSION.to_owned(),
            commit: version::COMMIT.to_owned(),
            time: Some(wire::timestamp(time)),
            database_time: Some(wire::timestamp(database.time)),
            database_version: database.version,
            missing_migrations: missing.map(|migration| migration.name).collect(),
            schema_version: database.migrations.last().cloned().unwrap_or_default(),
            expected_schema_version: expected.unwrap_or_default(),
            providers: providers.into_iter().map(Into::into).collect(),
            not_ready: not_ready.unwrap_or_default(),
        }
    }
}

impl From<Credential> for pb::ProviderContact {
    fn from(credential: Credential) -> Self {
        Self {
            credential_id: credential.id.to_string(),
            label: credential.label,
            create_time: Some(wire::timestamp(credential.created_at)),
            last_contact_time: credential.last_used_at.map(wire::timestamp),
            expire_time: credential.expires_at.map(wire::timestamp),
        }
    }
}
