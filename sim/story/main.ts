import { runCommand } from './command.ts'
import { progressOn } from './progress.ts'
import { tellStory } from './story.ts'
import { faultsOf, summaryInWords } from './summary.ts'

const usage = `Usage: npm start [-- --json]

Runs the main job on SoftHSM and a local Azure: a device provisions, connects,
rolls its certificate, is refused, comes back, and loses no message.

  --json   print the summary as one JSON object on the last line
  --help   print this
`

await runCommand(usage, async ({ json }) => {
  const progress = progressOn(json ? process.stderr : process.stdout)
  const summary = await tellStory(progress).catch((error: unknown) => {
    progress.failed('The story could not be told to its end:')
    throw error
  })
  process.stdout.write(json ? `${JSON.stringify(summary)}\n` : summaryInWords(summary))
  const faults = faultsOf(summary)
  for (const fault of faults) process.stderr.write(`The story went wrong: ${fault}.\n`)
  return faults.length === 0 ? 0 : 1
})
