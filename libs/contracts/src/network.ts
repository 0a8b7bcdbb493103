export * from './gen/berth/network/v1/network.ts';
