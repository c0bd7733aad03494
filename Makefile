# make run [ARCHIVE=...]   install what is missing, build, open the window (on the bundled sample)
# make test                install what tests need, then everything that CI checks
# make bench               the numbers, side by side with peers where they are installed
# make fixtures            build the fixtures again (root; several minutes)
# make lab                 what the fixtures, and four tests, are made with: /srv/lab (root)

SHELL := bash
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
SAMPLE := fixtures/compromised-webapp.tar.zst
# What its container started from.
SAMPLE_BASE := fixtures/base/webapp.tar.zst

# Libraries that the window loads when it starts, and a C compiler for zstd, xz and bzip2.
WINDOW_PACKAGES := gcc libc6-dev libegl1 libgl1-mesa-dri libx11-xcb1 libxcursor1 libxi6 libxkbcommon-x11-0 libxrandr2
# A software renderer for snapshots, a display without a screen, a hand for its mouse and keyboard; a debugger for core files;
# an emulator for the sandbox; a registry for images, and a tool that reads them.
TEST_PACKAGES := mesa-vulkan-drivers xvfb xauth xdotool imagemagick gdb binutils qemu-system-x86 docker-registry skopeo

.PHONY: run test lab check docs bench fixtures packages test-packages

run: packages
	cargo build --release
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
	  exec target/release/cryoscope $(if $(ARCHIVE),"$(ARCHIVE)",--rootfs $(SAMPLE_BASE) $(SAMPLE)); \
	else \
	  echo "There is no display here (DISPLAY and WAYLAND_DISPLAY are not set), so no window can open."; \
	  echo "The same on the command line: target/release/cryoscope inspect --all $(or $(ARCHIVE),$(SAMPLE))"; echo; \
	  exec target/release/cryoscope inspect --all "$(or $(ARCHIVE),$(SAMPLE))"; \
	fi

test: test-packages lab check docs
	cargo test --features agent

# A tree with Podman, containerd, Docker and a criu that fits the kernel, for the tests from a real container to the desk.
lab:
	@if [ "$$(id -u)" = 0 ]; then fixtures/lab/setup || echo "the tests with real Podman, containerd and Docker will not run: no lab"; fi

# Formatting and lints, with everything and with the least.
check:
	cargo fmt --check
	cargo clippy --all-targets --features agent -- -D warnings
	cargo clippy --all-targets --no-default-features -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --features agent

bench:
	cargo build --release
	cargo bench

fixtures:
	fixtures/make

packages:
	@$(call install,$(WINDOW_PACKAGES))

test-packages:
	@$(call install,$(WINDOW_PACKAGES) $(TEST_PACKAGES))

# Installs the packages that dpkg does not know as installed; silent when there is nothing to do.
define install
missing=(); for package in $(1); do \
  dpkg-query -W -f '$${Status}' "$$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$$package"); \
done; \
if [ $${#missing[@]} -gt 0 ]; then \
  echo "installing $${missing[*]}"; \
  $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
fi
endef
