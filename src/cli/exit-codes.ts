import type { ErrorCode } from '../error-table.ts'

interface ExitRow {
  readonly exitCode: number
  readonly meaning: string
  /** The errors that a command ends with in this way. */
  readonly errors: readonly ErrorCode[]
}

/** How every command can end. Scripts rely on these numbers: none is ever given another meaning. */
export const exitTable = {
  done: { exitCode: 0, meaning: 'done; what was looked at is sound', errors: [] },
  failed: { exitCode: 1, meaning: 'failed in another way than those below', errors: [] },
  usage: { exitCode: 2, meaning: 'the command line is wrong', errors: [] },
  damaged: { exitCode: 3, meaning: 'the journal is damaged', errors: ['JOURNAL_DAMAGED'] },
  inUse: { exitCode: 4, meaning: 'an agent uses the state folder', errors: ['STATE_FOLDER_IN_USE'] },
  foreign: {
    exitCode: 5,
    meaning: 'the journal of another device or a newer version',
    errors: ['JOURNAL_OTHER_DEVICE', 'JOURNAL_UNKNOWN_VERSION'],
  },
  disk: {
    exitCode: 6,
    meaning: 'the disk or its permissions are in the way',
    errors: ['JOURNAL_UNREADABLE', 'JOURNAL_UNWRITABLE'],
  },
} as const satisfies Record<string, ExitRow>

/** How a command ended. */
export type Exit = keyof typeof exitTable

/** How a command ends that has met this error. */
export function exitFor(code: ErrorCode): Exit {
  const exits = Object.entries(exitTable) as [Exit, ExitRow][]
  return exits.find(([, { errors }]) => errors.includes(code))?.[0] ?? 'failed'
}

/** The table as help shows it. */
export function exitCodesInWords(): string {
  const lines = Object.values(exitTable).map(({ exitCode, meaning }) => `  ${exitCode}  ${meaning}`)
  return `\nExit codes:\n${lines.join('\n')}`
}
