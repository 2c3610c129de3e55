//! Settings: flags and the environment, read so that all mistakes are told at once, each with the setting's names,
//! what was given (never a secret), what it must be and its default.

use std::{collections::HashSet, ffi::OsString, fmt, fs, ops::RangeInclusive, path::Path, process};

use clap::{
    Arg, Command, Error, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use http::Uri;

/// The exit code of a process whose settings can't be used; clap's own.
const WRONG: i32 = 2;

/// The settings of a process.
pub trait Settings: Parser {
    /// Reads what stands in files, and looks at what the text of one setting alone does not tell: whether settings
    /// fit together, whether files can be read. A setting that was refused already has its default here.
    fn complete(&mut self, mistakes: &mut Mistakes);
}

/// What is wrong with settings.
#[derive(Debug, Default)]
pub struct Mistakes(Vec<Mistake>);

#[derive(Debug)]
struct Mistake {
    /// The variable.
    name: String,
    /// What it was set to; none where it is not set, or a secret.
    given: Option<String>,
    /// What it must be.
    must: String,
}

impl Mistakes {
    /// Notes that the setting of this variable is not as it must be: `must` begins with a verb. `given` is shown.
    pub fn note(&mut self, name: &str, given: Option<&str>, must: impl fmt::Display) {
        self.0.push(Mistake {
            name: name.to_owned(),
            given: given.map(str::to_owned),
            must: must.to_string(),
        });
    }

    /// Notes that a file that a setting names can't be used.
    pub fn note_file(&mut self, name: &str, file: &Path, why: impl fmt::Display) {
        let given = file.display().to_string();
        self.note(
            name,
            Some(&given),
            format!("must name a file of use: {why}"),
        );
    }

    fn rendered(&self, command: &Command) -> String {
        let count = match self.0.len() {
            1 => "1 setting".to_owned(),
            many => format!("{many} settings"),
        };
        let mut text = format!("{}: {count} can't be used:\n", command.get_name());
        for Mistake { name, given, must } in &self.0 {
            let argument = arguments(command)
                .into_iter()
                .find(|argument| variable(argument) == Some(name));
            let long = argument.and_then(Arg::get_long);
            let flag = long.map_or(String::new(), |long| format!(" (--{long})"));
            let is = given
                .as_ref()
                .map_or(String::new(), |given| format!(" is {given:?} and"));
            let default: Vec<String> = argument
                .map(|argument| argument.get_default_values())
                .unwrap_or_default()
                .iter()
                .map(|value| value.to_string_lossy().into_owned())
                .collect();
            let default = match default.is_empty() {
                true => String::new(),
                false => format!(" [default: {}]", default.join(" ")),
            };
            text.push_str(&format!("  {name}{flag}{is} {must}{default}\n"));
        }
        text
    }
}

/// The settings of this process. Where they can't be used it says so, all of it, and ends the process with the exit
/// code 2; `--help` and `--version` are answered as usual. An empty variable counts as one that is not set.
#[must_use]
pub fn parse<S: Settings>() -> S {
    match read::<S>(std::env::args_os().collect()) {
        Ok(settings) => settings,
        Err(Refused::Settings(text)) => {
            eprint!("{text}");
            process::exit(WRONG)
        }
        Err(Refused::CommandLine(error)) => error.exit(),
    }
}

/// Why there are no settings.
#[derive(Debug)]
enum Refused {
    /// Mistakes, in words.
    Settings(String),
    /// What clap answers itself: help, the version, a flag that does not exist.
    CommandLine(Error),
}

fn read<S: Settings>(mut command_line: Vec<OsString>) -> Result<S, Refused> {
    let whole = S::command();
    let mut command = without_empty(whole.clone());
    let mut mistakes = Mistakes::default();
    let mut left_out = HashSet::new();
    // clap stops at the first mistake. What it refuses is noted and left out, until nothing is left to refuse.
    let matches = loop {
        let error = match command.clone().try_get_matches_from(&command_line) {
            Ok(matches) => break matches,
            Err(error) => error,
        };
        let refused = refused(&error).and_then(|(long, given, must)| {
            let argument = arguments(&whole)
                .into_iter()
                .find(|argument| argument.get_long() == Some(&long))?;
            Some((variable(argument)?.to_owned(), long, given, must))
        });
        match refused {
            Some((name, long, given, must)) if left_out.insert(long.clone()) => {
                mistakes.note(&name, Some(&given), must);
                command = without_variable(command, &long);
                command_line = without_flag(command_line, &long);
            }
            _ => return Err(Refused::CommandLine(error)),
        }
    };
    let mut settings = S::from_arg_matches(&matches).map_err(Refused::CommandLine)?;
    settings.complete(&mut mistakes);
    match mistakes.0.is_empty() {
        true => Ok(settings),
        false => Err(Refused::Settings(mistakes.rendered(&whole))),
    }
}

/// The flag whose value clap refuses, the value, and what it must be.
fn refused(error: &Error) -> Option<(String, String, String)> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg)?;
    let long = argument
        .strip_prefix("--")?
        .split([' ', '=', '['])
        .next()?
        .to_owned();
    let given = text(ContextKind::InvalidValue).unwrap_or_default();
    let must = match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(known))) => {
            format!("must be {}", known.join(" or "))
        }
        (ErrorKind::InvalidValue, _) => "must have a value".to_owned(),
        (ErrorKind::ValueValidation, _) => std::error::Error::source(error)?.to_string(),
        _ => return None,
    };
    Some((long, given, must))
}

/// Every argument of a command and of those below it.
fn arguments(command: &Command) -> Vec<&Arg> {
    let below = command.get_subcommands().flat_map(arguments);
    command.get_arguments().chain(below).collect()
}

fn variable(argument: &Arg) -> Option<&str> {
    argument.get_env()?.to_str()
}

fn without_empty(command: Command) -> Command {
    let forget = |argument: Arg| {
        let empty = argument
            .get_env()
            .and_then(std::env::var_os)
            .is_some_and(|value| value.is_empty());
        match empty {
            true => argument.env(None::<&'static str>),
            false => argument,
        }
    };
    command.mut_args(forget).mut_subcommands(without_empty)
}

fn without_variable(command: Command, long: &str) -> Command {
    let forget = |argument: Arg| match argument.get_long() == Some(long) {
        true => argument.env(None::<&'static str>),
        false => argument,
    };
    command
        .mut_args(forget)
        .mut_subcommands(|inner| without_variable(inner, long))
}

fn without_flag(command_line: Vec<OsString>, long: &str) -> Vec<OsString> {
    let flag = OsString::from(format!("--{long}"));
    let with_value = format!("--{long}=");
    let mut kept = Vec::with_capacity(command_line.len());
    let mut words = command_line.into_iter();
    while let Some(word) = words.next() {
        if word == flag {
            words.next();
        } else if !word.to_string_lossy().starts_with(&with_value) {
            kept.push(word);
        }
    }
    kept
}

/// A secret: given itself, or in a file that the variable with `_FILE` behind its name says. Space around it, as the
/// line's end that files and secret stores put there, is not part of it. None where neither is set; the secret is in
/// no message.
pub fn secret(
    name: &str,
    given: Option<&str>,
    file: Option<&Path>,
    mistakes: &mut Mistakes,
) -> Option<String> {
    let file_name = format!("{name}_FILE");
    match (given, file) {
        (Some(_), Some(file)) => {
            let given = file.display().to_string();
            mistakes.note(
                &file_name,
                Some(&given),
                format!("must not be set beside {name}: one of them is enough"),
            );
            None
        }
        (Some(given), None) => Some(given.trim().to_owned()),
        (None, Some(file)) => match fs::read_to_string(file) {
            Ok(text) if text.trim().is_empty() => {
                mistakes.note_file(&file_name, file, "it is empty");
                None
            }
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) => {
                mistakes.note_file(&file_name, file, error);
                None
            }
        },
        (None, None) => None,
    }
}

/// Reads whole numbers within bounds.
pub fn number<N: TryFrom<u64> + Clone + Send + Sync + 'static>(
    bounds: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static {
    move |text| {
        text.parse()
            .ok()
            .filter(|number| bounds.contains(number))
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| {
                format!(
                    "must be a whole number, {} to {}",
                    bounds.start(),
                    bounds.end()
                )
            })
    }
}

/// Reads an address to listen on.
///
/// # Errors
/// What it must be.
pub fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse()
        .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8480".to_owned())
}

/// Reads the URL of a service, with a host.
///
/// # Errors
/// What it must be.
pub fn url(text: &str) -> Result<String, String> {
    let is_url = text.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    match is_url {
        true => Ok(text.to_owned()),
        false => Err("must be a URL that begins with http:// or https://".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, CommandFactory};

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "plain")]
    struct Plain {
        #[command(flatten)]
        some: Inner,
    }

    #[derive(Args, Debug)]
    struct Inner {
        /// 1 to 5.
        #[arg(long, env = "RUNTIME_TEST_ROOM", default_value = "3", value_parser = number::<u8>(1..=5))]
        room: u8,
        /// A URL.
        #[arg(long, env = "RUNTIME_TEST_PLACE", default_value = "http://x", value_parser = url)]
        place: String,
    }

    impl Settings for Plain {
        fn complete(&mut self, mistakes: &mut Mistakes) {
            if self.some.room == 5 {
                mistakes.note("RUNTIME_TEST_ROOM", Some("5"), "must not be 5");
            }
        }
    }

    fn mistakes(flags: &[&str]) -> String {
        let line = std::iter::once(&"plain").chain(flags);
        match read::<Plain>(line.map(OsString::from).collect()) {
            Err(Refused::Settings(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_mistakes_are_told_each_with_its_names_bounds_and_default() {
        assert_eq!(
            mistakes(&["--room", "6", "--place=nowhere"]),
            "plain: 2 settings can't be used:\n  \
             RUNTIME_TEST_ROOM (--room) is \"6\" and must be a whole number, 1 to 5 [default: 3]\n  \
             RUNTIME_TEST_PLACE (--place) is \"nowhere\" and must be a URL that begins with http:// or https:// \
             [default: http://x]\n"
        );
        assert_eq!(
            mistakes(&["--place", "ftp://x", "--room", "5"])
                .lines()
                .count(),
            3
        );
    }

    #[test]
    fn what_is_no_mistake_of_a_setting_is_clap_s_to_answer() {
        for flags in [["--help"], ["--strange"]] {
            let line = ["plain"].iter().chain(&flags).map(OsString::from);
            let outcome = read::<Plain>(line.collect());
            assert!(matches!(outcome, Err(Refused::CommandLine(_))), "{flags:?}");
        }
    }

    #[test]
    fn a_secret_comes_from_one_place_and_stands_in_no_mistake() {
        let folder = std::env::temp_dir().join(format!("settings-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (full, empty) = (folder.join("full"), folder.join("empty"));
        fs::write(&full, "hush\n").unwrap();
        fs::write(&empty, "\n").unwrap();
        let mut mistakes = Mistakes::default();
        let mut of = |given, file: Option<&Path>| secret("KEY", given, file, &mut mistakes);
        assert_eq!(of(None, Some(full.as_path())).as_deref(), Some("hush"));
        assert_eq!(of(Some("hush"), None).as_deref(), Some("hush"));
        assert_eq!(of(Some(" hush\n"), None).as_deref(), Some("hush"));
        assert_eq!(of(None, None), None);
        assert_eq!(of(Some("hush"), Some(full.as_path())), None);
        assert_eq!(of(None, Some(empty.as_path())), None);
        assert_eq!(of(None, Some(Path::new("/not/there"))), None);
        let text = mistakes.rendered(&Plain::command());
        assert_eq!(text.matches("KEY_FILE is").count(), 3, "{text}");
        assert!(!text.contains("hush"), "{text}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
