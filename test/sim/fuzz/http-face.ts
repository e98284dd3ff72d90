import type { SimulatedCloud } from 'leafkeeper-sim'
import type { Device } from '../devices.ts'
import type { Dice } from './dice.ts'
import type { HttpAnswer } from './http-answers.ts'
import { converse, httpInputs } from './http-conversation.ts'
import { httpInput, type HttpInput, type HttpTemplate } from './http-input.ts'
import { opener } from './opener.ts'
import { changedKeys, type Face, type State } from './fuzz.ts'

/** An API of the cloud, as a fuzz test sees it. */
export interface HttpFace {
  readonly host: string
  /** Whose certificates the connections show. */
  readonly device?: Device
  /** Whether a refusal is put as this API puts it. */
  readonly isRefusal: (body: Readonly<Record<string, unknown>>) => boolean
  /** A request that it takes. */
  readonly template: (dice: Dice) => HttpTemplate
  /** Everything it can change, by kind and id. */
  readonly state: () => State
  /** Told of every answer. @returns whether the request may change more than it names */
  readonly answered?: (input: HttpInput, answer: HttpAnswer | undefined) => void
  /** Ends what goes on after the answers. @returns keys of the state that may have changed all the same */
  readonly settle?: () => (key: string) => boolean
}

const readOnly = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/** Conversations with one API: every answer is right in form, and nothing changes but what was accepted. */
export function httpFace(cloud: SimulatedCloud, face: HttpFace): Face {
  const open = opener(cloud, face.host, face.device)
  let before = face.state()
  const hold = async (inputs: readonly HttpInput[]): Promise<void> => {
    const answers = await converse(open, inputs)
    const accepted: string[] = []
    for (const [index, input] of inputs.entries()) {
      const answer = answers[index]
      if (answer !== undefined) check(face, input, answer)
      face.answered?.(input, answer)
      const isAccepted = answer === undefined ? input.answers === 'perhaps' : answer.status < 400
      if (isAccepted && !readOnly.has(input.method)) accepted.push(input.text)
    }
    const isExcused = face.settle?.() ?? (() => false)
    const after = face.state()
    for (const key of changedKeys(before, after)) {
      const id = key.slice(key.indexOf('/') + 1).toLowerCase()
      if (!isExcused(key) && !accepted.some((text) => text.includes(id))) {
        throw new Error(`${key} has changed from ${before.get(key) ?? '-'} to ${after.get(key) ?? '-'}.`)
      }
    }
    before = after
  }
  return (dice) => {
    const inputs = httpInputs(dice, () => httpInput(dice, face.host, face.template(dice)))
    return { inputs: inputs.map(({ bytes }) => bytes), hold: () => hold(inputs) }
  }
}

function check(face: HttpFace, { method }: HttpInput, { status, headers, body }: HttpAnswer): void {
  const wrong = (what: string): Error => new Error(`${what}: ${status} ${body.slice(0, 500)}`)
  // What Azure has and this cloud has not is 501.
  if (status >= 500 && status !== 501) throw wrong('The server has failed')
  if (method === 'HEAD') return
  if (body === '') {
    if (status >= 400) throw wrong('A refusal without a body')
    return
  }
  if (headers.get('content-type')?.startsWith('application/json') !== true)
    throw wrong('A body that is no JSON')
  const json: unknown = JSON.parse(body)
  if (status < 400) return
  if (typeof json !== 'object' || json === null) throw wrong('A refusal that is no object')
  const refusal = json as Readonly<Record<string, unknown>>
  if (
    ![face.isRefusal, isHubRefusal, isProvisioningRefusal, isManagementRefusal].some((fits) => fits(refusal))
  ) {
    throw wrong('A refusal of no known form')
  }
}

/** `{errorCode, trackingId, message, timestampUtc}`. */
export function isProvisioningRefusal(body: Readonly<Record<string, unknown>>): boolean {
  const { errorCode, trackingId, message, timestampUtc } = body
  return (
    Number.isInteger(errorCode) &&
    [trackingId, message, timestampUtc].every((text) => typeof text === 'string' && text !== '')
  )
}

/** `{Message, ExceptionMessage}`, where the message of a direct method is JSON. */
export function isHubRefusal({ Message, ExceptionMessage }: Readonly<Record<string, unknown>>): boolean {
  return (
    typeof Message === 'string' &&
    /^(?:ErrorCode:\w+;|\{"errorCode":\d+,)/.test(Message) &&
    typeof ExceptionMessage === 'string'
  )
}

/** `{error: {code, message}}`. */
export function isManagementRefusal({ error }: Readonly<Record<string, unknown>>): boolean {
  const { code, message } = (error ?? {}) as Readonly<Record<string, unknown>>
  return typeof code === 'string' && typeof message === 'string'
}
