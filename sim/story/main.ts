import { parseArgs } from 'node:util'
import { progressOn } from './progress.ts'
import { tellStory } from './story.ts'
import { faultsOf, type StorySummary } from './summary.ts'

const usage = `Usage: npm start [-- --json]

Runs the main job on SoftHSM and a local Azure: a device provisions, connects, rolls its certificate, is refused,
comes back, and loses no message.

  --json   print the summary as one JSON object on the last line
  --help   print this
`

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
  })
  if (values.help) {
    process.stdout.write(usage)
    return 0
  }
  const progress = progressOn(values.json ? process.stderr : process.stdout)
  try {
    const summary = await tellStory(progress)
    const faults = faultsOf(summary)
    process.stdout.write(values.json ? `${JSON.stringify(summary)}\n` : inWords(summary))
    for (const fault of faults) process.stderr.write(`The story went wrong: ${fault}.\n`)
    return faults.length === 0 ? 0 : 1
  } catch (error) {
    progress.failed(error instanceof Error ? (error.stack ?? error.message) : String(error))
    return 1
  }
}

function inWords(summary: StorySummary): string {
  return `
Summary
  device            CN=${summary.commonName}, key in SoftHSM, extractable: ${summary.keyExtractable ? 'yes' : 'no'}
  certificate       ${summary.oldThumbprint.slice(0, 16)}… -> ${summary.newThumbprint.slice(0, 16)}…
  registrations     ${summary.registrations} with DPS: at first, for the roll, after unauthorized, on a direct method
  messages          ${summary.messagesSent} sent, ${summary.messagesReceived} received, ${summary.messagesLost} lost
  roll              ${summary.blackoutMs.toFixed(1)} ms without a usable hub connection

Next: npm test, npm run bench, and README.md for your own gateway.
`
}

// Engines are deprecated in Node (DEP0183); the TLS binding is replaceable and the warning tells a newcomer nothing.
process.on('warning', () => undefined)
process.exitCode = await main()
