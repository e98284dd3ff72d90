import { Command, CommanderError } from 'commander'
import { packageVersion } from '../package-version.ts'
import { exitCodesInWords, exitTable } from './exit-codes.ts'
import { hsmCheck, type HsmCheckOptions } from './hsm-check.ts'
import { journalCheck } from './journal-check.ts'
import type { JournalOptions } from './journal-in-words.ts'
import { journalRepair } from './journal-repair.ts'
import { tell, type Report, type Streams } from './report.ts'

/**
 * Runs the command line `leafkeeper`.
 *
 * @param args without node and the name of the script
 * @returns the exit code, see `exit-codes.ts`
 */
export async function runCommandLine(args: readonly string[], streams: Streams): Promise<number> {
  let exitCode: number = exitTable.done.exitCode
  const program = new Command('leafkeeper')
    .description('Looks after the identity of an Azure IoT device whose key is in an HSM.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
    })
    .addHelpText('afterAll', exitCodesInWords())
  const journal = program.command('journal').description('looks after the journal of an agent')

  function addJournalCommand(
    name: string,
    description: string,
    run: (folder: string, options: JournalOptions) => Promise<Report>,
  ): void {
    journal
      .command(name)
      .description(description)
      .argument('<folder>', 'the state folder of the agent')
      .option('--device <id>', 'refuse the journal of any other registration id')
      .option('--json', 'print one JSON object on one line')
      .action(async (folder: string, options: JournalOptions & { readonly json?: true }) => {
        exitCode = await tell(streams, options.json ?? false, () => run(folder, options))
      })
  }
  addJournalCommand('check', 'say what a journal holds, or where it is damaged', journalCheck)
  addJournalCommand('repair', 'keep a damaged journal beside what can be read of it', journalRepair)

  program
    .command('hsm')
    .description('looks at PKCS#11 modules')
    .command('check')
    .description('try what a token can do, with keys that are destroyed again')
    .argument('<module>', 'path of the PKCS#11 module')
    .option('--token <label>', 'which token, where the module has more than one')
    .option('--pin-file <file>', 'the user PIN: the first line of this file')
    .option('--pin-env <name>', 'the user PIN: this environment variable')
    .option('--profile <profile>', 'a profile of hsm-config by name, or the path of one')
    .option('--json', 'print one JSON object on one line')
    .action(async (module: string, options: HsmCheckOptions & { readonly json?: true }) => {
      exitCode = await tell(streams, options.json ?? false, () => hsmCheck(module, options))
    })

  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    // The text is written already. Asked for, help is an answer; otherwise it says what is missing.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode : exitTable.usage.exitCode
    throw error
  }
}
