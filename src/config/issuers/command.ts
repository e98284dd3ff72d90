import * as v from 'valibot'
import { commandIssuer, longestProgramMs } from '../../issuer/command-issuer.ts'
import type { Issuer } from '../../issuer/issuer.ts'
import { members, optional, required } from '../members.ts'
import { onlySet } from '../only-set.ts'
import { anyText, duration, expected, nameOrPathFrom, pathFrom, text } from '../values.ts'
import { kind } from './kind.ts'

/** A program that turns a request into a chain. */
export function commandIssuerSection(folder: string) {
  return members({
    kind: kind('command', 'Runs a program: request on standard input, chain on standard output.'),
    program: required(
      nameOrPathFrom(folder),
      'The program; a name is looked up in `PATH`. There is no shell.',
    ),
    arguments: optional(
      v.array(anyText, expected('a list of texts')),
      'Every user of the machine can read them: no secrets.',
      'none',
    ),
    workingFolder: optional(pathFrom(folder), 'The folder it runs in.', 'that of the agent'),
    environment: optional(
      v.record(v.string(), text, expected('an object with texts')),
      "Added to the agent's environment.",
    ),
    timeout: optional(duration({ least: 1, most: longestProgramMs }), 'How long one run may take.', '`2m`'),
    retryAfter: optional(duration({ least: 1 }), 'When a pending answer is asked for again.', '`1m`'),
  })
}

type Settings = v.InferOutput<ReturnType<typeof commandIssuerSection>>

export function commandIssuerOf({ timeout, retryAfter, kind: _kind, ...settings }: Settings): Issuer {
  return commandIssuer({ ...settings, ...onlySet({ timeoutMs: timeout, retryAfterMs: retryAfter }) })
}
