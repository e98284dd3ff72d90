import { LeafkeeperError } from '../errors.ts'
import type { IncomingMessage } from '../transport/guarded-mqtt-base.ts'
import type { MethodAnswer, MethodHandler } from './hub-transport.ts'

/** A method's answer may have 128 KiB (IoT Hub, direct methods). */
const largestAnswer = 128 * 1024

/** A direct method call as it came over the wire. */
export interface MethodCall {
  readonly name: string
  readonly requestId: string
  readonly payload: Buffer
}

/** Reads `$iothub/methods/POST/{name}/?$rid={rid}`; `undefined` where the message is something else. */
export function readMethodCall({ topic, payload }: IncomingMessage): MethodCall | undefined {
  const match = /^\$iothub\/methods\/POST\/([^/]+)\/\?(.+)$/.exec(topic)
  const requestId = new URLSearchParams(match?.[2]).get('$rid')
  const name = match?.[1]
  return name === undefined || requestId === null || requestId === ''
    ? undefined
    : { name, requestId, payload }
}

/**
 * Asks the handler. Never rejects: a payload that is not JSON is answered with 400, and a handler that throws, or
 * whose answer cannot be sent, with 500.
 */
export async function answerTo(call: MethodCall, handler: MethodHandler): Promise<MethodAnswer> {
  let payload: unknown
  try {
    payload = call.payload.length === 0 ? undefined : JSON.parse(call.payload.toString('utf8'))
  } catch {
    return { status: 400, payload: { message: 'The payload is not JSON.' } }
  }
  try {
    return sendable(await handler({ name: call.name, payload }))
  } catch (error) {
    // Only our own messages are known to hold no secret.
    const told = error instanceof LeafkeeperError ? { code: error.code, message: error.message } : undefined
    return { status: 500, payload: told ?? { message: `The method ${call.name} failed on the device.` } }
  }
}

function sendable(answer: MethodAnswer): MethodAnswer {
  if (!Number.isInteger(answer.status) || answer.status < 100 || answer.status > 999) {
    throw new TypeError(`A method answered with the status ${String(answer.status)}.`)
  }
  const payload: unknown = answer.payload ?? null
  if (Buffer.byteLength(JSON.stringify(payload)) > largestAnswer) {
    throw new RangeError('A method answered with more than 128 KiB.')
  }
  return { ...answer, payload }
}
