import { expect, it } from 'vitest'
import { SimulatedCloud } from 'leafkeeper-sim'
import { listenerFace } from './faces/listener.ts'
import { fuzz, longestRun } from './fuzz.ts'

it(
  'whatever comes in place of a TLS handshake, or first behind it, leaves no connection',
  async () => {
    const cloud = await SimulatedCloud.start()
    await fuzz(cloud, await listenerFace(cloud))
    expect(cloud.openConnections).toBe(0)
    await cloud.close()
  },
  longestRun,
)
