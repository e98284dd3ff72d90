import { createHash } from 'node:crypto'
import type { KeyId } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'

const prefix = 'leafkeeper:'

/** What IoT Hub allows in a device id, which an agent is usually named after. */
const agentNames = /^[A-Za-z0-9\-.:+%_#*?!(),=@$']{1,128}$/

/**
 * Checks the name under which an agent keeps its keys on a token.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID`
 */
export function checkAgentName(agentName: string): void {
  if (agentNames.test(agentName)) return
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `${JSON.stringify(agentName)} cannot name an agent's keys: 1 to 128 of the characters of a device id are needed (A-Z a-z 0-9 - . : + % _ # * ? ! ( ) , = @ $ ').`,
  })
}

/** The `CKA_LABEL` of every object of a generation. */
export function objectLabel(agentName: string, number: number): string {
  return `${prefix}${agentName}:${number}`
}

/** Whose object it is, from its label; `undefined` for an object that leafkeeper did not label. */
export function readObjectLabel(label: string): { agentName: string; number: number } | undefined {
  const match = /^leafkeeper:(.+):(\d{1,10})$/.exec(label)
  const [, agentName, number] = match ?? []
  return agentName === undefined || number === undefined ? undefined : { agentName, number: Number(number) }
}

/**
 * The `CKA_ID` of a generation. It follows from name and number, so that a generation that was made just before a
 * crash is found again: the first 20 bytes of a SHA-256, as wide as the SHA-1 that other tools use.
 */
export function keyIdOf(agentName: string, number: number): KeyId {
  const digest = createHash('sha256').update(objectLabel(agentName, number)).digest()
  return digest.subarray(0, 20).toString('hex') as KeyId
}
