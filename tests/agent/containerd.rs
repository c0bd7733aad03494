//! A real containerd in the lab, with an image of busybox and a network for pods that leads nowhere.

use std::ops::Deref;

use super::cri::{Cri, Place};
use super::lab::{Lab, is_frozen};

/// The image that it has from the beginning; `$dir/image.tar` is its archive.
pub(crate) const IMAGE: &str = "localhost/small:1";

/// Runs in the lab: containerd with a store of its own and an image of busybox, which is its pods' as well.
const SCRIPT: &str = r#"
export CONTAINERD_ADDRESS=$dir/containerd.sock CONTAINERD_NAMESPACE=k8s.io
mkdir -p $dir/logs $dir/cni
cat >$dir/config.toml <<END
version = 3
root = '$dir/root'
state = '$dir/run'
[grpc]
address = '$dir/containerd.sock'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = 'localhost/small:1'
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/usr/lib/cni']
conf_dir = '$dir/cni'
END
cat >$dir/cni/nowhere.conflist <<END
{"cniVersion": "1.0.0", "name": "nowhere", "plugins": [{"type": "bridge", "bridge": "cni-$$",
  "ipam": {"type": "static", "addresses": [{"address": "10.77.0.2/24"}]}}]}
END
tar -C $dir/image -cf $dir/layer.tar .
layer=$(sha256sum <$dir/layer.tar | cut -d' ' -f1)
printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/bin/sleep","100000"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $layer >$dir/image.json
echo '[{"Config":"image.json","RepoTags":["localhost/small:1"],"Layers":["layer.tar"]}]' >$dir/manifest.json
PATH=$dir/path:$PATH containerd -c $dir/config.toml >$dir/log 2>&1 &
containerd=$!
trap 'kill $containerd; wait $containerd || true; ip link delete cni-$$ 2>/dev/null || true' EXIT
for n in $(seq 100); do [ -S $dir/containerd.sock ] && break; sleep 0.1; done
tar -C $dir -cf $dir/image.tar manifest.json image.json layer.tar
ctr images import --local $dir/image.tar >/dev/null
sed -n 's/^[0-9]*:freezer://p' /proc/self/cgroup
cat >/dev/null
"#;

/// A lab with its containerd; dropped, no container of it outlives the test, frozen or not.
pub(crate) struct Containerd {
    lab: Lab,
    pub(crate) place: Place,
}

impl Deref for Containerd {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for container in self.cri().containers() {
            let _ = self.ctr(&format!("ctr -n k8s.io tasks resume {container}"));
        }
        self.cri().end_pods();
    }
}

impl Containerd {
    pub(crate) fn start() -> Result<Containerd, String> {
        let lab = Lab::start("bin/containerd", SCRIPT)?;
        let place = Place { logs: lab.inside.join("logs"), cgroup: format!("{}/pods", lab.cgroup), ..Place::default() };
        Ok(Containerd { lab, place })
    }

    pub(crate) fn cri(&self) -> Cri {
        Cri::new(self.dir.join("containerd.sock"))
    }

    pub(crate) fn ctr(&self, command: &str) -> Result<String, String> {
        self.run(command, ("CONTAINERD_ADDRESS", &self.inside.join("containerd.sock")))
    }

    pub(crate) fn is_frozen(&self, container: &str) -> bool {
        is_frozen(&self.place.cgroup, container)
    }
}
