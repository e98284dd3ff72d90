import type { TLSSocket } from 'node:tls'
import type { Dice } from './dice.ts'
import { HttpAnswers, type HttpAnswer } from './http-answers.ts'
import type { HttpInput } from './http-input.ts'
import { Wire } from './wire.ts'

const mostInputs = 90

/** Inputs for one connection: those that keep it open, and at the end perhaps one that does not. */
export function httpInputs(dice: Dice, next: () => HttpInput): readonly HttpInput[] {
  const inputs: HttpInput[] = []
  const length = 1 + dice.number(mostInputs)
  while (inputs.length < length) {
    const input = next()
    inputs.push(input)
    if (input.answers !== 'one') break
  }
  return inputs
}

// One TLS record. Node's parser stumbles (HPE_PAUSED) over another one while large answers wait for each other.
const atOnce = 16_000

/**
 * Sends requests, some at a time without waiting, and gives what the server has answered to each.
 *
 * @throws Error when it has not answered one that it must answer, or with what is no HTTP
 */
export async function converse(
  open: () => TLSSocket,
  inputs: readonly HttpInput[],
): Promise<readonly (HttpAnswer | undefined)[]> {
  const answers = new HttpAnswers(inputs.map(({ method }) => method))
  const wire = await Wire.open(open(), (chunk) => answers.push(chunk))
  const owed = inputs.filter(({ answers }) => answers !== 'perhaps')
  let sent = 0
  for (const batch of batches(owed)) {
    sent += batch.length
    wire.send(Buffer.concat(batch))
    await wire.until(() => answers.list.length >= sent)
  }
  if (answers.list.length < owed.length) {
    const last = JSON.stringify(answers.list.at(-1)?.body)
    throw new Error(`${answers.list.length} of ${owed.length} requests were answered, the last with ${last}.`)
  }
  wire.send(Buffer.concat(inputs.slice(owed.length).map(({ bytes }) => bytes)))
  wire.end()
  await wire.closed()
  if (answers.rest !== '')
    throw new Error(`An answer has not come to its end: ${JSON.stringify(answers.rest)}`)
  return inputs.map((_, index) => answers.list[index])
}

function batches(inputs: readonly HttpInput[]): readonly (readonly Buffer[])[] {
  const list: Buffer[][] = []
  let room = 0
  for (const { bytes } of inputs) {
    const batch = list.at(-1)
    if (batch !== undefined && bytes.length <= room) batch.push(bytes)
    else list.push([bytes])
    room = (batch !== undefined && bytes.length <= room ? room : atOnce) - bytes.length
  }
  return list
}
