import type { DeviceId } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'

/** What {@link requireRegistrationId} lets pass. */
export const registrationIdPattern = /^[A-Za-z0-9\-._:]{0,63}[A-Za-z0-9-]$/

/**
 * Checks a registration id by the rules of DPS for X.509: at most 64 characters (the limit of a common name),
 * alphanumeric or one of `-._:`, the last one alphanumeric or a dash.
 *
 * @see https://learn.microsoft.com/azure/iot-dps/concepts-service#registration-id
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID`
 */
export function requireRegistrationId(text: string): DeviceId {
  if (registrationIdPattern.test(text)) return text as DeviceId
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected registrationId to have 1 to 64 characters of A-Z a-z 0-9 - . _ : and to end in a letter, digit or dash, got ${JSON.stringify(text)}.`,
  })
}
