import { LeafkeeperError } from '../errors.ts'

/** Where the TPM is. */
export type TpmAddress =
  /** A device file of the kernel: `/dev/tpmrm0`, whose resource manager lets several programs share the TPM. */
  | { readonly device: string }
  /** A Unix socket, as that of swtpm: commands and responses as they are, without a protocol around them. */
  | { readonly socket: string }
  /** The same over TCP. */
  | { readonly host: string; readonly port: number }

/** Where Linux has the TPM, with its resource manager. */
export const kernelTpm: TpmAddress = { device: '/dev/tpmrm0' }

/** How errors speak of a TPM. */
export function nameOfTpm(address: TpmAddress): string {
  if ('device' in address) return `the TPM ${address.device}`
  return `the TPM at ${'socket' in address ? address.socket : `${address.host}:${address.port}`}`
}

/**
 * Checks what came from a configuration.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID`
 */
export function requireTpmAddress(address: TpmAddress): void {
  const given: Partial<Record<'device' | 'socket' | 'host' | 'port', unknown>> = address
  const { device, socket, host, port } = given
  const isPath = (value: unknown): boolean => typeof value === 'string' && value.startsWith('/')
  const ways = [device, socket, host ?? port].filter((way) => way !== undefined)
  const isPort = typeof port === 'number' && Number.isInteger(port) && port > 0 && port < 65_536
  const isTcp = typeof host === 'string' && host !== '' && isPort
  if (ways.length === 1 && (isPath(device) || isPath(socket) || isTcp)) return
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected a TPM as { device: '/dev/tpmrm0' }, { socket: '/path' } or { host, port }, got ${JSON.stringify(address)}.`,
  })
}
