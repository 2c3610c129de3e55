//! `docs/reference.md`: the contract for people, written from the comments in the `.proto` files.

use std::{env, fmt::Write, fs, path::Path};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// The comment before what stands at `path` in a file, in one line.
fn comment(file: &FileDescriptorProto, path: &[i32]) -> String {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let found = locations.into_iter().find(|location| location.path == path);
    let text = found.map_or("", |location| location.leading_comments());
    text.lines()
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .replace('|', "\\|")
}

fn type_name(field: &FieldDescriptorProto) -> String {
    let name = match field.r#type() {
        Type::Message | Type::Enum => {
            let full = field.type_name().trim_start_matches('.');
            match full.strip_prefix("identity.v1.") {
                Some(own) => format!("[{own}](#{})", own.to_lowercase()),
                None => format!("`{full}`"),
            }
        }
        other => format!("`{}`", other.as_str_name()["TYPE_".len()..].to_lowercase()),
    };
    if field.label() == Label::Repeated {
        format!("list of {name}")
    } else {
        name
    }
}

fn message(text: &mut String, file: &FileDescriptorProto, message: &DescriptorProto, path: &[i32]) {
    let _ = write!(
        text,
        "\n#### {}\n\n{}\n",
        message.name(),
        comment(file, path)
    );
    if message.field.is_empty() {
        return;
    }
    text.push_str("\n| field | type | |\n|---|---|---|\n");
    for (field, place) in message.field.iter().zip(0..) {
        let choice = field
            .oneof_index
            .filter(|_| !field.proto3_optional())
            .and_then(|index| message.oneof_decl.get(index as usize))
            .map_or(String::new(), |oneof| {
                format!("(one of `{}`) ", oneof.name())
            });
        let _ = writeln!(
            text,
            "| `{}` = {} | {} | {choice}{} |",
            field.name(),
            field.number(),
            type_name(field),
            comment(file, &[path, &[2, place]].concat()),
        );
    }
}

fn enumeration(
    text: &mut String,
    file: &FileDescriptorProto,
    of: &EnumDescriptorProto,
    path: &[i32],
) {
    let _ = write!(text, "\n#### {}\n\n{}\n", of.name(), comment(file, path));
    text.push_str("\n| value | |\n|---|---|\n");
    for (value, place) in of.value.iter().zip(0..) {
        let _ = writeln!(
            text,
            "| `{}` = {} | {} |",
            value.name(),
            value.number(),
            comment(file, &[path, &[2, place]].concat()),
        );
    }
}

fn rendered() -> String {
    let set = FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
    let own = |file: &&FileDescriptorProto| file.package() == "identity.v1";
    let mut text = String::from(
        "# The contract: `identity.v1`\n\n\
         Written from the comments in `proto/identity/v1`. What a caller does with it is in \
         [`internal-api.md`](internal-api.md).\n\n## Services\n",
    );
    for file in set.file.iter().filter(own) {
        for (service, place) in file.service.iter().zip(0..) {
            let path = [6, place];
            let _ = write!(
                text,
                "\n### {}\n\n{}\n\n",
                service.name(),
                comment(file, &path)
            );
            for (method, place) in service.method.iter().zip(0..) {
                let link = |name: &str| {
                    let name = name.rsplit('.').next().unwrap_or(name);
                    format!("[{name}](#{})", name.to_lowercase())
                };
                let stream = if method.server_streaming() {
                    "a stream of "
                } else {
                    ""
                };
                let _ = writeln!(
                    text,
                    "- **{}**: {} → {stream}{}. {}",
                    method.name(),
                    link(method.input_type()),
                    link(method.output_type()),
                    comment(file, &[&path[..], &[2, place]].concat()),
                );
            }
        }
    }
    text.push_str("\n## Messages\n");
    for file in set.file.iter().filter(own) {
        if file.message_type.is_empty() && file.enum_type.is_empty() {
            continue;
        }
        let _ = write!(text, "\n### {}\n", file.name());
        for (of, place) in file.message_type.iter().zip(0..) {
            message(&mut text, file, of, &[4, place]);
        }
        for (of, place) in file.enum_type.iter().zip(0..) {
            enumeration(&mut text, file, of, &[5, place]);
        }
    }
    text
}

#[test]
fn the_reference_in_the_docs_is_this_contract() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
    let text = rendered();
    if env::var_os("ROSTER_REWRITE_DOCS").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == text,
        "docs/reference.md is another contract's: run this test with ROSTER_REWRITE_DOCS=1"
    );
}

#[test]
fn everything_in_the_contract_is_explained() {
    let set = FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
    for file in set
        .file
        .iter()
        .filter(|file| file.package() == "identity.v1")
    {
        let told = |path: &[i32], name: &str| {
            assert!(!comment(file, path).is_empty(), "{}: {name}", file.name());
        };
        for (service, s) in file.service.iter().zip(0..) {
            told(&[6, s], service.name());
            for (method, m) in service.method.iter().zip(0..) {
                told(&[6, s, 2, m], method.name());
            }
        }
        for (of, e) in file.enum_type.iter().zip(0..) {
            told(&[5, e], of.name());
            for (value, v) in of.value.iter().zip(0..) {
                told(&[5, e, 2, v], value.name());
            }
        }
        for (of, m) in file.message_type.iter().zip(0..) {
            if of.name().ends_with("Request") || of.name().ends_with("Response") {
                // Its method says what it is for.
            } else {
                told(&[4, m], of.name());
            }
            for (field, f) in of.field.iter().zip(0..) {
                told(&[4, m, 2, f], &format!("{}.{}", of.name(), field.name()));
            }
        }
    }
}
