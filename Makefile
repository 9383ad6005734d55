# SPDX-License-Identifier: LGPL-2.1-or-later
# What one types; meson does the work.

BUILD ?= build
DESTDIR ?=

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD)

deps:
	tests/deps build test demo

check:
	[ -x /usr/bin/python3 ] || tests/deps build test
	tests/run

demo:
	tests/demo

bench: all
	bench/run --build-dir=$(BUILD) --write

install: all
	DESTDIR="$(DESTDIR)" meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf build build-*

.PHONY: all deps check demo bench install clean
