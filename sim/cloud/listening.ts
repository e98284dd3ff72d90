import { isIPv4 } from 'node:net'
import { loopback } from '../listener.ts'
import type { CloudOptions } from './options.ts'

/** Where a cloud listens. */
export interface ListeningPlan {
  readonly host: string
  /** 0 stands for a free one. */
  readonly ports: readonly [number, ...number[]]
  /** Whether clients find it under the host names of Azure alone. */
  readonly isOwnAddress: boolean
}

/** HTTPS and MQTT over WebSocket; MQTT over TLS. No client of Azure's lets its user choose others. */
const azurePorts = [443, 8883] as const

/**
 * @param kept - the port of a data folder
 * @throws RangeError for an address that is none of the loopback ones, or that comes with a port
 */
export function planListening(
  { ownAddress, port }: Pick<CloudOptions, 'ownAddress' | 'port'>,
  kept: number | undefined,
): ListeningPlan {
  if (ownAddress === undefined) {
    return { host: loopback, ports: [port ?? kept ?? 0], isOwnAddress: false }
  }
  if (!isIPv4(ownAddress) || !ownAddress.startsWith('127.')) {
    throw new RangeError(
      `"${ownAddress}" is no loopback address: expected one of 127.0.0.0/8, such as 127.0.0.2.`,
    )
  }
  if (port !== undefined) {
    throw new RangeError(
      `An address of its own comes with the ports ${azurePorts.join(' and ')}: leave the port out.`,
    )
  }
  return { host: ownAddress, ports: azurePorts, isOwnAddress: true }
}
