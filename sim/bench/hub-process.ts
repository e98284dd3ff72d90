import { SimulatedCloud } from '../cloud.ts'

/** What the parent orders: the devices of one hub, by id, with the thumbprint of their leaf. */
export interface HubOrder {
  readonly devices: readonly { readonly deviceId: string; readonly thumbprint: string }[]
}

/** Where the hub listens. */
export interface HubReady {
  readonly port: number
  readonly hostName: string
  /** PEM. */
  readonly trustedAuthorities: string
}

/** A hub in a process of its own, as any other broker is: it must not share a core's time with who measures it. */
process.once('message', (order: HubOrder) => {
  void start(order)
})

async function start({ devices }: HubOrder): Promise<void> {
  const cloud = await SimulatedCloud.start({ hubs: ['bench'] })
  const [hub] = cloud.hubs
  if (hub === undefined) throw new Error('The cloud has no hub.')
  for (const { deviceId, thumbprint } of devices)
    hub.registry.create({
      deviceId,
      authentication: {
        type: 'selfSigned',
        x509Thumbprint: { primaryThumbprint: thumbprint, secondaryThumbprint: null },
      },
    })
  process.once('disconnect', () => void cloud.close())
  const { port, trustedAuthorities } = cloud
  process.send?.({ port, hostName: hub.hostName, trustedAuthorities } satisfies HubReady)
}
