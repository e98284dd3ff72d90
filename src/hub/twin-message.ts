import type { IncomingMessage } from '../transport/guarded-mqtt-base.ts'

/**
 * A message about the twin as the official transport can stand it; `undefined` where it is something else, or nothing
 * that can be made sense of. That transport throws on a body that is not JSON, and takes every answer for a success
 * that has no `errorCode` in its body, whatever the status in its topic says.
 */
export function twinMessage(message: IncomingMessage): IncomingMessage | undefined {
  const { topic, payload } = message
  if (topic.startsWith('$iothub/twin/PATCH/properties/desired/'))
    return isObject(parsed(payload)) ? message : undefined
  const [, status] = /^\$iothub\/twin\/res\/(\d{3})\/\?/.exec(topic) ?? []
  if (status === undefined) return undefined
  const body = payload.length === 0 ? {} : parsed(payload)
  if (!isObject(body)) return answered(message, status, 'it is not JSON')
  if (status.startsWith('2')) return message
  const { message: why } = body as { message?: unknown }
  return answered(message, status, typeof why === 'string' ? why : 'no reason given')
}

function answered({ topic }: IncomingMessage, status: string, why: string): IncomingMessage {
  const message = `the hub answered ${status}: ${why}`
  return { topic, payload: Buffer.from(JSON.stringify({ errorCode: Number(status), message })) }
}

function parsed(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString('utf8'))
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
