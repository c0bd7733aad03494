//! Which containers are meant: a name, or labels as `kubectl --selector` takes them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::wire::Container;

/// Labels that a container must have: `app=web,tier!=test,critical,!canary`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    key: String,
    wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Is(String),
    IsNot(String),
    Any,
    None,
}

/// Text that is no selector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no selector; give labels as app=web,tier!=test,critical,!canary")]
pub struct NotASelector(String);

impl FromStr for Selector {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Selector, NotASelector> {
        let wrong = || NotASelector(text.chars().take(200).collect());
        let mut terms = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (key, wanted) = if let Some((key, value)) = part.split_once("!=") {
                (key, Wanted::IsNot(value.trim().to_owned()))
            } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (key, Wanted::Is(value.trim().to_owned()))
            } else if let Some(key) = part.strip_prefix('!') {
                (key, Wanted::None)
            } else {
                (part, Wanted::Any)
            };
            let key = key.trim();
            let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
            let is_value = |value: &str| !value.contains(['=', '!', '(', ')', ' ']);
            let is_right = match &wanted {
                Wanted::Is(value) | Wanted::IsNot(value) => is_value(value),
                Wanted::Any | Wanted::None => true,
            };
            if key.is_empty() || !key.chars().all(is_key) || !is_right {
                return Err(wrong());
            }
            terms.push(Term { key: key.to_owned(), wanted });
        }
        Ok(Selector { terms })
    }
}

impl Selector {
    /// Whether a container is meant.
    pub fn selects(&self, container: &Container) -> bool {
        self.terms.iter().all(|term| {
            let value = container.labels.get(&term.key);
            match &term.wanted {
                Wanted::Is(wanted) => value == Some(wanted),
                Wanted::IsNot(wanted) => value != Some(wanted),
                Wanted::Any => value.is_some(),
                Wanted::None => value.is_none(),
            }
        })
    }
}

/// Why no container is meant.
#[derive(Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotFound {
    /// None is.
    #[error("{wanted}: there is no such container; there are: {}{}", list(there), unasked_list(unasked))]
    None {
        /// As it was given.
        wanted: String,
        /// The first of those that there are.
        there: Vec<String>,
        /// Who could not be asked, and why.
        unasked: Vec<String>,
    },
    /// Several are.
    #[error(
        "{wanted}: several containers are called so, give one by POD/CONTAINER, NAMESPACE/POD/CONTAINER or id: {}",
        list(found)
    )]
    Several {
        /// As it was given.
        wanted: String,
        /// The first of them.
        found: Vec<String>,
    },
}

fn unasked_list(unasked: &[String]) -> String {
    unasked.iter().map(|issue| format!("; {issue}")).collect()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Of a container, what people call it: `NAMESPACE/POD/NAME`, as far as there are such.
#[derive(Clone, Copy, Debug)]
pub struct Called<'c>(pub &'c Container);

impl fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.0.namespace, &self.0.pod].into_iter().flatten() {
            write!(f, "{part}/")?;
        }
        f.write_str(&self.0.name)
    }
}

/// The container that is called `wanted`: by id or the beginning of it (8 letters at least), by name, by `POD/NAME` or
/// `NAMESPACE/POD/NAME`. Running ones go before others of the same name.
///
/// # Errors
/// None or several are.
pub fn find<'c>(containers: &'c [Container], wanted: &str) -> Result<&'c Container, NotFound> {
    let is_called = |container: &Container| {
        let full = Called(container).to_string();
        let is_id = container.id == wanted || (wanted.len() >= 8 && container.id.starts_with(wanted));
        is_id || container.name == wanted || full == wanted || full.ends_with(&format!("/{wanted}"))
    };
    let mut found: Vec<&Container> = containers.iter().filter(|container| is_called(container)).collect();
    if found.len() > 1 {
        let runs = |container: &&Container| container.state == super::wire::ContainerState::Running;
        if found.iter().any(runs) {
            found.retain(runs);
        }
    }
    let names = |from: &[&Container]| {
        from.iter().take(20).map(|it| format!("{} ({:.12})", Called(it), it.id)).collect::<Vec<_>>()
    };
    match found[..] {
        [one] => Ok(one),
        [] => {
            let there = names(&containers.iter().collect::<Vec<_>>());
            Err(NotFound::None { wanted: wanted.to_owned(), there, unasked: Vec::new() })
        }
        _ => Err(NotFound::Several { wanted: wanted.to_owned(), found: names(&found) }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{ContainerState, SourceKind};
    use super::*;

    fn container(id: &str, pod: &str, name: &str, labels: &[(&str, &str)]) -> Container {
        Container {
            id: id.into(),
            name: name.into(),
            pod: Some(pod.into()),
            namespace: Some("default".into()),
            image: None,
            image_id: None,
            engine: "cri-o".into(),
            source: SourceKind::Kubelet,
            state: ContainerState::Running,
            created: None,
            pid: None,
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            problem: None,
            caution: None,
        }
    }

    #[test]
    fn labels_select_as_kubectl_does() {
        let web = container("1", "web", "app", &[("app", "web"), ("example.com/tier", "front")]);
        let check = |text: &str, selects: bool| {
            assert_eq!(text.parse::<Selector>().unwrap().selects(&web), selects, "{text}");
        };
        check("app=web", true);
        check("app==web, example.com/tier=front", true);
        check("app=db", false);
        check("app!=db", true);
        check("missing!=x", true);
        check("app,!missing", true);
        check("!app", false);
        for wrong in ["", "=web", "app=a=b", "a b", "app in (web)", "app=web,"] {
            assert!(wrong.parse::<Selector>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn container_is_found_by_what_people_call_it() {
        let mut all = vec![
            container("aaaaaaaaaaaa", "web", "app", &[]),
            container("aaaaaaaaaabb", "db", "app", &[]),
            container("cccccccccccc", "db", "log", &[]),
        ];
        let check =
            |all: &[Container], wanted: &str, id: &str| assert_eq!(find(all, wanted).unwrap().id, id, "{wanted}");
        check(&all, "log", "cccccccccccc");
        check(&all, "web/app", "aaaaaaaaaaaa");
        check(&all, "default/db/app", "aaaaaaaaaabb");
        check(&all, "aaaaaaaaaab", "aaaaaaaaaabb");
        let error = find(&all, "app").unwrap_err().to_string();
        assert!(error.contains("default/web/app (aaaaaaaaaaaa)"), "{error}");
        assert!(matches!(find(&all, "pp"), Err(NotFound::None { .. })));
        assert!(matches!(find(&[], "app"), Err(NotFound::None { .. })));
        all[0].state = ContainerState::Exited;
        check(&all, "app", "aaaaaaaaaabb");
    }
}
