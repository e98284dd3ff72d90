import { temporaryToken } from 'leafkeeper/testing'
import { runCommand } from '../story/command.ts'
import { measureBlackout } from './blackout.ts'
import { measureBroker } from './broker.ts'
import { measureHandshakes } from './handshake.ts'

const usage = `Usage: npm run bench [-- --json]

Compares handshakes with an HSM key with those with a key file, and a roll with
a plain open() of the official client.

  --json   print the figures as one JSON object on the last line
  --help   print this
`

await runCommand(usage, async ({ json }) => {
  const note = (text: string): void => void process.stderr.write(`${text}\n`)
  const token = await temporaryToken({ label: 'leafkeeper-bench', parent: '.leafkeeper' })
  try {
    note('Handshakes, HSM key against key file ...')
    const handshakes = await measureHandshakes(token.options)
    note('Rolls, hub leaves the old session alone, against a plain open() ...')
    const kept = await measureBlackout(token.options, 'keep-session')
    note('Rolls, hub cuts the old session when DPS rewrites its record ...')
    const cut = await measureBlackout(token.options, 'cut-session')
    note('A simulated hub against mosquitto ...')
    const broker = await measureBroker()
    const figures = {
      ...handshakes,
      ...kept,
      blackoutCutMs: cut.blackoutMs,
      blackoutCutRatio: cut.blackoutRatio,
      ...broker,
    }
    const rounded = Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, round(value)]))
    process.stdout.write(json ? `${JSON.stringify(rounded)}\n` : inWords(rounded))
    return 0
  } finally {
    await token.remove()
  }
})

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}

function inWords(figures: Readonly<Record<string, number>>): string {
  const rows: [string, string][] = [
    ['TLS handshake, HSM key : key file', 'handshakeRatio'],
    ['  with the key looked up anew', 'handshakeFreshRatio'],
    ['plain open() of the official client, ms', 'openMs'],
    ['roll without a usable connection, ms', 'blackoutMs'],
    ['  against the plain open()', 'blackoutRatio'],
    ['roll at a hub that cuts the old session, ms', 'blackoutCutMs'],
    ['  against the plain open()', 'blackoutCutRatio'],
    ['simulated hub : mosquitto, connects a second', 'simConnectRatio'],
    ['  QoS 1 messages a second', 'simMessageRatio'],
  ]
  return `${rows.map(([title, name]) => `${title.padEnd(48)}${String(figures[name])}`).join('\n')}\n`
}
