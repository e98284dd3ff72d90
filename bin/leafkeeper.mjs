#!/usr/bin/env node
// npm links commands when it installs, before anything is built: what it links must stand here already.
import '../dist/cli/main.js'
