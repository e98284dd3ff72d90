import { openDevice } from './device-channel.ts'
import { connectToSocket } from './socket-channel.ts'
import type { TpmAddress } from './tpm-address.ts'
import type { TpmChannel } from './tpm-channel.ts'

/** @throws LeafkeeperError `TPM_UNREACHABLE` */
export function openChannel(address: TpmAddress): Promise<TpmChannel> {
  return 'device' in address ? openDevice(address) : connectToSocket(address)
}
