import { LeafkeeperError } from '../errors.ts'

/** MQTT over TLS. */
const mqttsPort = 8883

/** Where a TCP connection goes. */
export interface Address {
  readonly host: string
  readonly port: number
}

/**
 * Reads `host`, `host:port`, `[v6]` or `[v6]:port`; the port defaults to 8883 unless another is given.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID`
 */
export function parseAddress(text: string, usualPort = mqttsPort): Address {
  const match = /^(?:\[([0-9a-f:.%]+)\]|([^:[\]/@\s]+))(?::(\d{1,5}))?$/i.exec(text)
  const host = match?.[1] ?? match?.[2]
  const port = match?.[3] === undefined ? usualPort : Number(match[3])
  if (host === undefined || port < 1 || port > 65535) {
    throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
      message: `Expected a host name with an optional port, such as example.azure-devices.net, but got ${JSON.stringify(text)}.`,
    })
  }
  return { host, port }
}

/**
 * The address to connect to in place of `wanted`: the entry for its exact name, or else the entry `*.domain` with
 * the longest domain above it, or else `wanted` itself. Names compare without case.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` where the entry is not an address
 */
export function route(wanted: Address, connectTo: Readonly<Record<string, string>> | undefined): Address {
  const name = wanted.host.toLowerCase()
  let best: { readonly key: string; readonly to: string } | undefined
  for (const [key, to] of Object.entries(connectTo ?? {})) {
    const pattern = key.toLowerCase()
    if (pattern === name) return parseAddress(to)
    const below = pattern.startsWith('*.') && name.endsWith(pattern.slice(1)) && name.length >= pattern.length
    if (below && pattern.length > (best?.key.length ?? 0)) best = { key, to }
  }
  return best === undefined ? wanted : parseAddress(best.to)
}
