//! Where identity is and which token to call it with: from the command line, the environment, and the
//! facts that a development stack leaves in its folder.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    env, fs, io,
    path::Path,
    time::{Duration, Instant},
};

use hyper::Uri;
use hyper_util::rt::TokioIo;
use identity_proto::v1::{SiteRef, site_ref};
use identity_runtime::tls::ClientTlsArgs;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::{IpAddr, ServerName};
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use tower::service_fn;

use crate::{
    arguments::{Global, Output},
    failure::Failure,
};

const DEFAULT_ADDR: &str = "127.0.0.1:8481";
/// The facts of a development stack, seen from the folder of a checkout.
const DEV_ENV: &str = ".roster/dev.env";
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a call is sent again where identity is away or has too much to do, by a command that makes many.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before that where identity does not say; twice as long each time.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest of those pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Everything that a command needs besides its own arguments.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    addr: String,
    site: Option<String>,
    tokens: Tokens,
    tls: ClientTlsArgs,
    /// The name that identity's certificate must have, where that is not the address's host.
    server_name: Option<String>,
    /// The facade of the development stack.
    facade: Option<String>,
    patience: Duration,
    /// The one connection of a command, made when it is first needed.
    channel: OnceCell<Channel>,
    pub(crate) output: Output,
}

/// The tokens at hand.
#[derive(Clone, Debug, Default)]
struct Tokens {
    given: Option<String>,
    bootstrap: Option<String>,
    service: Option<String>,
}

/// Which token a command takes where none was given to it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Making sites, administering credentials: also the bootstrap token may.
    Administer,
    /// Everything else.
    Work,
    /// Looking at what any token may see: a service's sees most.
    Look,
}

impl Settings {
    /// Looks everything up.
    pub(crate) fn resolve(global: &Global) -> Result<Self, Failure> {
        let dev_env = read_dev_env(Path::new(DEV_ENV))?;
        Self::of(global, |name| env::var(name).ok(), &dev_env)
    }

    fn of(
        global: &Global,
        variable: impl Fn(&str) -> Option<String>,
        dev_env: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        // The facts of a development stack belong together: no token of it is sent anywhere else.
        let dev_addr = dev_env.get("ROSTER_GRPC_ADDR");
        let of_dev = global.addr.is_none() || global.addr.as_ref() == dev_addr;
        let from_dev = |name: &str| dev_env.get(name).filter(|_| of_dev).cloned();
        let find = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .or_else(|| from_dev(name))
        };
        let given = match &global.token_file {
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    Failure::new(format!("the token file {}: {error}", path.display()))
                })?;
                let token = text.trim();
                if token.is_empty() {
                    return Err(Failure::usage(format!(
                        "the token file {} is empty",
                        path.display()
                    )));
                }
                Some(token.to_owned())
            }
            None => variable("ROSTER_TOKEN").filter(|value| !value.is_empty()),
        };
        Ok(Self {
            addr: global
                .addr
                .clone()
                .or_else(|| from_dev("ROSTER_GRPC_ADDR"))
                .unwrap_or_else(|| DEFAULT_ADDR.to_owned()),
            // A token that was given may be of another site than the development stack's.
            site: global.site.clone().or_else(|| match given {
                Some(_) => None,
                None => from_dev("ROSTER_SITE_DOMAIN"),
            }),
            tokens: Tokens {
                given,
                bootstrap: find("ROSTER_BOOTSTRAP_TOKEN"),
                service: find("ROSTER_SERVICE_TOKEN"),
            },
            tls: global.tls.clone(),
            server_name: global.tls_server_name.clone(),
            facade: from_dev("ROSTER_SCIM_URL").and_then(|site_url| {
                let base = site_url.trim_end_matches('/').strip_suffix("/scim/v2")?;
                Some(base.rsplit_once('/')?.0.to_owned())
            }),
            patience: Duration::ZERO,
            channel: OnceCell::new(),
            output: global.output,
        })
    }

    /// The same for a command that makes many calls: it waits and tries again where identity is away or has
    /// too much to do.
    pub(crate) fn patient(&self) -> Self {
        Self {
            patience: PATIENCE,
            ..self.clone()
        }
    }

    /// The site that was named, if any.
    pub(crate) fn site(&self) -> Option<SiteRef> {
        let domain = self.site.clone()?;
        Some(SiteRef {
            r#ref: Some(site_ref::Ref::Domain(domain)),
        })
    }

    /// The domain of the site that was named, if any.
    pub(crate) fn domain(&self) -> Option<String> {
        self.site.clone()
    }

    /// The channel to identity; it connects with the first call.
    pub(crate) fn channel(&self) -> Result<Channel, Failure> {
        if let Some(channel) = self.channel.get() {
            return Ok(channel.clone());
        }
        let url = match self.addr.contains("://") {
            true => self.addr.clone(),
            false if self.tls == ClientTlsArgs::default() && self.server_name.is_none() => {
                format!("http://{}", self.addr)
            }
            false => format!("https://{}", self.addr),
        };
        let endpoint = Endpoint::from_shared(url)
            .map_err(|_| Failure::usage(format!("{:?} is no address: host:port", self.addr)))?;
        let channel = match &self.server_name {
            None => self.secure(endpoint)?.connect_lazy(),
            Some(name) => self.under_name(&endpoint, name)?,
        };
        Ok(self.channel.get_or_init(|| channel).clone())
    }

    fn secure(&self, endpoint: Endpoint) -> Result<Endpoint, Failure> {
        let endpoint = self.tls.secure(endpoint).map_err(Failure::usage)?;
        Ok(endpoint.connect_timeout(CONNECT).tcp_nodelay(true))
    }

    /// A channel that is secured as if identity were at `name`, and leads to where it is reached.
    fn under_name(&self, reached: &Endpoint, name: &str) -> Result<Channel, Failure> {
        let uri = reached.uri();
        if uri.scheme_str() != Some("https") {
            return Err(Failure::usage(format!(
                "--tls-server-name goes with TLS, but the address {uri} does not begin with https://"
            )));
        }
        let port = uri.port_u16().unwrap_or(443);
        let host = uri.host().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let no_name =
            || Failure::usage(format!("--tls-server-name: {name:?} is no name of a host"));
        let authority = match ServerName::try_from(name).map_err(|_| no_name())? {
            ServerName::IpAddress(IpAddr::V6(_)) => format!("[{name}]:{port}"),
            _ => format!("{name}:{port}"),
        };
        let named = Endpoint::from_shared(format!("https://{authority}")).map_err(|_| no_name())?;
        Ok(self
            .secure(named)?
            .connect_with_connector_lazy(service_fn(move |_: Uri| {
                let host = host.clone();
                async move {
                    let stream = TcpStream::connect((host.as_str(), port)).await?;
                    stream.set_nodelay(true)?;
                    Ok::<_, io::Error>(TokioIo::new(stream))
                }
            })))
    }

    /// The token for this purpose, if any.
    pub(crate) fn token(&self, purpose: Purpose) -> Option<&str> {
        let Tokens {
            given,
            bootstrap,
            service,
        } = &self.tokens;
        let token = match purpose {
            Purpose::Administer => given.as_ref().or(bootstrap.as_ref()).or(service.as_ref()),
            Purpose::Work => given.as_ref().or(service.as_ref()),
            Purpose::Look => given.as_ref().or(service.as_ref()).or(bootstrap.as_ref()),
        };
        token.map(String::as_str)
    }

    /// The URL of a development stack's facade.
    pub(crate) fn facade(&self) -> Option<String> {
        self.facade.clone()
    }

    /// A request with the token for this purpose.
    pub(crate) fn request<T>(&self, purpose: Purpose, message: T) -> Result<Request<T>, Failure> {
        let mut request = self.request_of_any_length(purpose, message)?;
        request.set_timeout(DEADLINE);
        Ok(request)
    }

    /// The same without a deadline, for a stream.
    pub(crate) fn request_of_any_length<T>(
        &self,
        purpose: Purpose,
        message: T,
    ) -> Result<Request<T>, Failure> {
        let Some(token) = self.token(purpose) else {
            return Err(Failure::usage(
                "no token: set ROSTER_TOKEN or name a file that holds one with --token-file",
            ));
        };
        let mut request = Request::new(message);
        let value = format!("Bearer {token}")
            .parse()
            .map_err(|_| Failure::token("the token has characters that a token can't have"))?;
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }

    /// Makes a call that may be made twice: a read, or a write whose second time finds it done.
    pub(crate) async fn call<M: Clone, T>(
        &self,
        purpose: Purpose,
        message: &M,
        mut send: impl AsyncFnMut(Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let begin = Instant::now();
        let mut pause = PAUSE;
        loop {
            let status = match send(self.request(purpose, message.clone())?).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            let asked = status
                .get_details_retry_info()
                .and_then(|info| info.retry_delay);
            let passing = match status.code() {
                Code::DeadlineExceeded => true,
                // A limit of the site's does not pass; a version that has moved is not what was asked for.
                Code::ResourceExhausted => asked.is_some(),
                Code::Aborted => !Failure::of_call(&self.addr, &status).is("VERSION_MISMATCH"),
                _ => is_away(&status),
            };
            let wait = asked.unwrap_or(pause).min(LONGEST_PAUSE);
            if !passing || begin.elapsed() + wait > self.patience {
                return Err(Failure::of_call(&self.addr, &status));
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes a call that makes something, under a `request_id`: once more where the connection broke before there was
    /// an answer, as identity does it once all the same.
    pub(crate) async fn make<M: Clone, T>(
        &self,
        purpose: Purpose,
        message: &M,
        mut send: impl AsyncFnMut(Request<M>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let broke = |status: &Status| is_away(status) && status.get_details_error_info().is_none();
        let outcome = match send(self.request(purpose, message.clone())?).await {
            Err(status) if broke(&status) => {
                tokio::time::sleep(PAUSE).await;
                send(self.request(purpose, message.clone())?).await
            }
            outcome => outcome,
        };
        outcome
            .map(Response::into_inner)
            .map_err(|status| Failure::of_call(&self.addr, &status))
    }

    /// Where identity is.
    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }
}

/// Whether identity, or the way to it, is away for the moment. A connection that is cut shows as one of
/// several codes, and without what identity says of its own errors.
pub(crate) fn is_away(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Cancelled => true,
        Code::Unknown | Code::Internal => status.get_details_error_info().is_none(),
        _ => false,
    }
}

fn read_dev_env(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()),
        // Not there, or somebody else's: then it does not count.
        Err(_) => Ok(BTreeMap::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global() -> Global {
        Global {
            addr: None,
            tls: ClientTlsArgs::default(),
            tls_server_name: None,
            token_file: None,
            site: None,
            output: Output::Table,
        }
    }

    fn dev_env() -> BTreeMap<String, String> {
        [
            ("ROSTER_GRPC_ADDR", "127.0.0.1:9481"),
            ("ROSTER_SITE_DOMAIN", "acme"),
            ("ROSTER_BOOTSTRAP_TOKEN", "boot"),
            ("ROSTER_SERVICE_TOKEN", "service"),
            ("ROSTER_SCIM_URL", "http://127.0.0.1:9480/acme/scim/v2"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn token(settings: &Settings, purpose: Purpose) -> Option<String> {
        let request = settings.request(purpose, ()).ok()?;
        Some(
            request
                .metadata()
                .get("authorization")?
                .to_str()
                .ok()?
                .to_owned(),
        )
    }

    #[test]
    fn in_a_checkout_everything_is_known() {
        let settings = Settings::of(&global(), |_| None, &dev_env()).unwrap();
        assert_eq!(settings.addr(), "127.0.0.1:9481");
        assert_eq!(settings.site.as_deref(), Some("acme"));
        assert_eq!(
            token(&settings, Purpose::Administer).unwrap(),
            "Bearer boot"
        );
        assert_eq!(token(&settings, Purpose::Work).unwrap(), "Bearer service");
        assert_eq!(token(&settings, Purpose::Look).unwrap(), "Bearer service");
        assert_eq!(settings.facade().unwrap(), "http://127.0.0.1:9480");
    }

    #[test]
    fn tokens_of_a_development_stack_go_nowhere_else() {
        let elsewhere = Global {
            addr: Some("identity.prod:8481".to_owned()),
            ..global()
        };
        let settings = Settings::of(&elsewhere, |_| None, &dev_env()).unwrap();
        assert_eq!(token(&settings, Purpose::Administer), None);
        assert_eq!(settings.site, None);
        assert_eq!(settings.facade(), None);
    }

    #[test]
    fn a_token_that_was_given_comes_first() {
        let variable = |name: &str| (name == "ROSTER_TOKEN").then(|| "mine".to_owned());
        let settings = Settings::of(&global(), variable, &dev_env()).unwrap();
        assert_eq!(
            token(&settings, Purpose::Administer).unwrap(),
            "Bearer mine"
        );
        assert_eq!(settings.site, None);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "from-a-file\n").unwrap();
        let with_file = Global {
            token_file: Some(file),
            ..global()
        };
        let settings = Settings::of(&with_file, variable, &dev_env()).unwrap();
        assert_eq!(
            token(&settings, Purpose::Work).unwrap(),
            "Bearer from-a-file"
        );
        // As where a command that was to write it failed.
        fs::write(with_file.token_file.as_ref().unwrap(), "\n").unwrap();
        let failure = Settings::of(&with_file, variable, &dev_env()).unwrap_err();
        assert!(failure.to_string().ends_with("is empty"), "{failure}");
    }

    #[tokio::test]
    async fn a_name_of_the_certificate_goes_with_tls_only_and_is_one_of_a_host() {
        let channel = |addr: &str, name: &str| {
            let named = Global {
                addr: Some(addr.to_owned()),
                tls_server_name: Some(name.to_owned()),
                ..global()
            };
            let settings = Settings::of(&named, |_| None, &BTreeMap::new()).unwrap();
            settings.channel().map(drop)
        };
        for addr in ["127.0.0.1:8481", "https://[::1]:8481", "https://localhost"] {
            assert!(channel(addr, "identity.roster.svc").is_ok(), "{addr}");
        }
        let plain = channel("http://127.0.0.1:8481", "identity").unwrap_err();
        assert!(plain.to_string().contains("https://"), "{plain}");
        for wrong in ["", "a b", "identity:8481", "https://identity", "a/b"] {
            let failure = channel("127.0.0.1:8481", wrong).unwrap_err();
            assert!(failure.to_string().contains("no name"), "{failure}");
        }
    }

    #[test]
    fn without_any_token_it_says_what_to_do() {
        let settings = Settings::of(&global(), |_| None, &BTreeMap::new()).unwrap();
        assert_eq!(settings.addr(), DEFAULT_ADDR);
        let failure = settings.request(Purpose::Work, ()).unwrap_err();
        assert!(failure.to_string().contains("ROSTER_TOKEN"));
    }
}
