import { connect, createSecureContext, type TLSSocket } from 'node:tls'
import type { SimulatedCloud } from 'leafkeeper-sim'
import type { Device } from '../devices.ts'

/** Opens TLS connections, quickly: what they need is made once, and who the server is does not matter here. */
export function opener(cloud: SimulatedCloud, servername: string, device?: Device): () => TLSSocket {
  const credential = device === undefined ? {} : { cert: device.chain, key: device.key }
  const secureContext = createSecureContext(credential)
  return () => {
    const socket = connect({
      port: cloud.port,
      host: '127.0.0.1',
      servername,
      secureContext,
      rejectUnauthorized: false,
    })
    socket.setNoDelay(true)
    return socket
  }
}
