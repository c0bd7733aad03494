//! `crit_json` of every image of every fixture equals what crit 4.1.1 printed for it.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests read the fixtures")]

mod images;

use std::collections::BTreeSet;
use std::fs;

use cryoscope::base::Limits;
use cryoscope::decode::{Ctx, Img, crit_json};
use serde_json::{Map, Value};

/// crit's answer with its listed defects put right.
fn corrected(document: &mut Value) {
    match document {
        Value::Object(map) => {
            if map.get("task_state").is_some_and(|state| state == "Zombie") {
                map.insert("task_state".to_owned(), "Stopped".into());
            }
            map.values_mut().for_each(corrected);
        }
        Value::Array(values) => values.iter_mut().for_each(corrected),
        _ => {}
    }
}

/// The first place where two documents differ.
fn difference(ours: &Value, crit: &Value, at: &str) -> Option<String> {
    match (ours, crit) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let null = Value::Null;
            keys.into_iter().find_map(|key| {
                let (a, b) = (a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null));
                difference(a, b, &format!("{at}.{key}"))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| difference(a, b, &format!("{at}[{i}]")))
        }
        _ => (ours != crit).then(|| format!("{at}: ours {ours:.200}, crit {crit:.200}")),
    }
}

#[test]
fn every_image_of_every_fixture_equals_crit() {
    let fixtures = images::fixtures();
    let (mut n_compared, mut different) = (0, Vec::new());
    for entry in fs::read_dir(&fixtures).unwrap() {
        let golden = entry.unwrap().path();
        let Some(name) =
            golden.file_name().unwrap().to_string_lossy().strip_suffix(".crit.json.zst").map(str::to_owned)
        else {
            continue;
        };
        let golden = zstd::decode_all(fs::read(&golden).unwrap().as_slice()).unwrap();
        let golden: Map<String, Value> = serde_json::from_slice(&golden).unwrap();
        let evidence = ["", ".tar", ".tar.zst"].map(|suffix| fixtures.join(format!("{name}{suffix}")));
        let images = images::images(evidence.iter().find(|path| path.exists()).unwrap());
        let inventory = Img::new("inventory.img", images["inventory.img"].clone());
        let (ctx, issues) = Ctx::detect(&inventory, &Limits::default());
        assert_eq!(issues, []);
        for (image, crit) in golden.iter().filter(|(image, _)| *image != "_refused") {
            let Some(bytes) = images.get(image.rsplit('/').next().unwrap()) else {
                different.push(format!("{name}: no {image} in the archive"));
                continue;
            };
            let ours = crit_json(&Img::new(image, bytes.clone()), &ctx);
            assert_eq!(ours.issues, [], "{name}");
            let mut crit = crit.clone();
            corrected(&mut crit);
            n_compared += 1;
            different.extend(difference(&ours.value, &crit, &format!("{name}/{image}")));
        }
        for (image, bytes) in &images {
            let img = Img::new(image, bytes.clone());
            if img.kind.is_some() {
                let ours = crit_json(&img, &ctx);
                assert_eq!(ours.issues, [], "{name}");
                assert!(ours.value["magic"].is_string() && ours.value["entries"].is_array(), "{name}/{image}");
            }
        }
    }
    assert!(different.is_empty(), "{} of {n_compared} differ:\n{}", different.len(), different.join("\n"));
    assert!(n_compared > 500, "only {n_compared} images compared");
}
