import type { CredentialAnswer } from '../credential-channel.ts'
import type { IncomingMessage } from '../transport/guarded-mqtt-base.ts'

/** Reads `$iothub/credentials/res/{status}/?$rid={rid}`; `undefined` where the message is something else. */
export function readCredentialAnswer({ topic, payload }: IncomingMessage): CredentialAnswer | undefined {
  const match = /^\$iothub\/credentials\/res\/(\d{3})\/\?(.+)$/.exec(topic)
  const requestId = new URLSearchParams(match?.[2]).get('$rid')
  if (match === null || requestId === null) return undefined
  return { status: Number(match[1]), requestId, body: payload }
}
