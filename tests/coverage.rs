//! What archives cannot show is told with the engine that left it out.

use cryoscope::base::Silent;
use cryoscope::checkpoint;
use cryoscope::evidence::{Evidence, OpenOptions};

#[test]
fn checkpoint_in_an_image_blames_the_engine_that_made_it() {
    for (name, engine, other) in
        [("podman-oci.tar", "Podman", "CRI-O"), ("crio-checkpoint-oci.tar.zst", "CRI-O", "Podman")]
    {
        let options = OpenOptions::default();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        let evidence = Evidence::open(&path, &options, &Silent).unwrap();
        let checkpoint = checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0);
        assert_eq!(checkpoint.container.engine, Some(engine), "{name}");
        let has = |word: &str| checkpoint.coverage.iter().any(|gap| gap.why.contains(word));
        assert!(has(engine) && !has(other), "{name}: {:?}", checkpoint.coverage);
    }
}
