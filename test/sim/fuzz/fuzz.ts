import { inspect } from 'node:util'
import type { SimulatedCloud } from 'leafkeeper-sim'
import { expect } from 'vitest'
import { watchUncaught } from '../../transport/support/uncaught.ts'
import { expectToServe } from './afterwards.ts'
import { Dice } from './dice.ts'

/** A conversation with one face of the cloud, before it is held. */
export interface Conversation {
  /** What is to be said, one input after the other. */
  readonly inputs: readonly Buffer[]
  /** @throws Error when something was not as it must be */
  readonly hold: () => Promise<void>
}

/** Where conversations come from. */
export type Face = (dice: Dice) => Conversation

/** A part of the cloud's state by `kind/id`, as JSON. */
export type State = ReadonlyMap<string, string>

/** Set by `LEAFKEEPER_FUZZ_SEED`: other seeds, other inputs. */
const seed = fromEnvironment('LEAFKEEPER_FUZZ_SEED', 1)
/** Set by `LEAFKEEPER_FUZZ_INPUTS`: how many each face gets. */
const wanted = fromEnvironment('LEAFKEEPER_FUZZ_INPUTS', 10_000)

/** How long a fuzz test may take, in milliseconds; ten thousand inputs take some seconds where nothing else runs. */
export const longestRun = Math.max(240_000, 24 * wanted)

/** Talks to a face until it has got all inputs. Then nothing has crashed, no connection is left, and all goes on. */
export async function fuzz(cloud: SimulatedCloud, face: Face): Promise<void> {
  using uncaught = watchUncaught()
  const dice = new Dice(seed)
  let inputs = 0
  for (let conversation = 1; inputs < wanted; conversation += 1) {
    const { inputs: said, hold } = face(dice)
    try {
      await hold()
      expect((await uncaught.afterwards()).map((thrown) => inspect(thrown))).toEqual([])
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new Error(
        `${reason}\nThat was conversation ${conversation}, after ${inputs} inputs. To repeat it: LEAFKEEPER_FUZZ_SEED=${seed}\n${said.map(printed).join('\n')}`,
        { cause },
      )
    }
    inputs += said.length
  }
  while (cloud.openConnections > 0) await cloud.waitFor('connectionEnded')
  await expectToServe(cloud)
  expect((await uncaught.afterwards()).map((thrown) => inspect(thrown))).toEqual([])
}

/** Which parts of the state differ, came or went. */
export function changedKeys(before: State, after: State): readonly string[] {
  const keys = new Set([...before.keys(), ...after.keys()])
  return [...keys].filter((key) => before.get(key) !== after.get(key))
}

/** The state of several kinds of things that have ids. */
export function stateOf(kinds: Readonly<Record<string, Iterable<readonly [string, unknown]>>>): State {
  return new Map(
    Object.entries(kinds).flatMap(([kind, things]) =>
      [...things].map(([id, thing]): [string, string] => [`${kind}/${id}`, JSON.stringify(thing)]),
    ),
  )
}

/** Bytes for people, shortened. */
function printed(bytes: Buffer): string {
  const text = JSON.stringify(bytes.subarray(0, 1500).toString('latin1'))
  return bytes.length > 1500 ? `${text} and ${bytes.length - 1500} more` : text
}

function fromEnvironment(name: string, otherwise: number): number {
  const text = process.env[name] ?? ''
  if (text === '') return otherwise
  const number = Number(text)
  if (Number.isSafeInteger(number) && number >= 0) return number
  throw new RangeError(`${name}: expected a whole number, got "${text}".`)
}
