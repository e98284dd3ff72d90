import { dpsOverMqtt, hubOverMqtt, openToken, type DeviceCredential, type DeviceId } from 'leafkeeper'
import { onTestFinished } from 'vitest'
import type { Azure } from './azure.ts'
import { testHsm } from './world.ts'

/** Someone else who can use one generation of a device's key, as whoever has compromised it can. */
export interface StolenKey {
  /** Connects to the hub and leaves again. @throws LeafkeeperError `HUB_UNAUTHORIZED` when it is refused */
  connect(): Promise<void>
  /** Registers with DPS. @throws LeafkeeperError `DPS_UNAUTHORIZED` when it is refused */
  register(): Promise<void>
  /** Opens TLS now, while the key is on the token; the hub decides at MQTT's CONNECT, when this is called. */
  prepare(): Promise<() => Promise<void>>
}

/** Takes the key of one generation from the token of the tests. */
export async function stealKey(azure: Azure, deviceId: string, generation: number): Promise<StolenKey> {
  const credential = await credentialOnToken(deviceId, generation)
  const { signal } = new AbortController()
  const prepare = async (): Promise<() => Promise<void>> => {
    const target = { hub: azure.hub, deviceId: credential.commonName }
    const prepared = await hubOverMqtt(azure.network).prepare(target, credential, signal)
    return async () => {
      const connection = await prepared.connect(() => ({ status: 200, payload: null }), signal)
      await connection.close()
    }
  }
  return {
    prepare,
    async connect() {
      const connect = await prepare()
      await connect()
    },
    async register() {
      await dpsOverMqtt(azure.dps).register(credential, signal)
    },
  }
}

/** What a device shows with one of its generations, on a login of its own that ends with the test. */
async function credentialOnToken(deviceId: string, generation: number): Promise<DeviceCredential> {
  const { module, label, pin } = testHsm()
  const token = await openToken({ module, token: { label }, pin: { callback: () => pin } })
  onTestFinished(() => token.close())
  const keys = token.keyStore(deviceId)
  const stored = (await keys.list()).find(({ number }) => number === generation)
  if (stored?.chain === undefined) throw new Error(`Generation ${generation} is not on the token.`)
  const { chain, keyId } = stored
  const keyUri = keys.keyUri(keyId)
  const commonName = deviceId as DeviceId
  return { commonName, chain, keyUri, secureContext: (ca) => token.tls.secureContext(keyUri, chain, ca) }
}
