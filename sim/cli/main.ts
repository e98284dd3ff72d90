import { runSimulator } from './run.ts'

process.exitCode = await runSimulator(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  stopped: async () =>
    new Promise((resolve) => {
      process.once('SIGINT', resolve).once('SIGTERM', resolve)
    }),
})
